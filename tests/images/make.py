"""Draws the larger images in this folder: python tests/images/make.py

One scene, a ship at sea, in the formats and color modes that the handler has to read.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

HERE = Path(__file__).parent
HEIGHT, WIDTH = 480, 640
HORIZON = 300


def ship() -> Image.Image:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    sky = np.stack([150 + 70 * y / HORIZON, 190 + 40 * y / HORIZON, 235 + 0 * y], 2)
    waves = 12 * np.sin(x / 23 + 5 * np.sin(y / 31)) * (y - HORIZON) / (HEIGHT - HORIZON)
    depth = (y - HORIZON) / (HEIGHT - HORIZON)
    sea = np.stack([40 - 25 * depth, 105 - 45 * depth, 150 - 50 * depth], 2) + waves[..., None]
    scene = np.where((y < HORIZON)[..., None], sky, sea)
    noise = np.random.default_rng(7).normal(0, 4, scene.shape)
    image = Image.fromarray(np.clip(scene + noise, 0, 255).astype(np.uint8))

    draw = ImageDraw.Draw(image)
    draw.polygon([(110, 270), (540, 270), (500, 345), (160, 345)], fill=(60, 40, 45))
    draw.rectangle((110, 262, 540, 276), fill=(235, 235, 230))
    draw.rectangle((210, 205, 430, 262), fill=(240, 240, 238))
    for left in range(225, 420, 35):
        draw.rectangle((left, 222, left + 18, 240), fill=(60, 80, 105))
    for left in (260, 330, 400):
        draw.rectangle((left - 40, 130, left - 8, 205), fill=(190, 50, 40))
        draw.rectangle((left - 40, 130, left - 8, 145), fill=(30, 30, 30))
    draw.line([(150, 262), (150, 110)], fill=(70, 60, 55), width=5)
    draw.line([(480, 262), (480, 120)], fill=(70, 60, 55), width=5)
    return image.filter(ImageFilter.GaussianBlur(0.8))


def main() -> None:
    rgb = ship()
    rgb.save(HERE / "ship.jpg", quality=90)
    rgb.save(HERE / "ship-progressive.jpg", quality=85, progressive=True, subsampling="4:4:4")
    rgb.convert("L").save(HERE / "ship-gray.jpg", quality=85)
    rgb.convert("CMYK").save(HERE / "ship-cmyk.jpg", quality=85)
    rgb.save(HERE / "ship.webp", quality=85)

    small = rgb.resize((160, 120), Image.Resampling.LANCZOS)
    small.save(HERE / "ship.bmp")
    small.quantize(64).save(HERE / "ship-palette.png", transparency=bytes([0, 128] + [255] * 62))
    alpha = Image.radial_gradient("L").resize(small.size)
    rgba = small.copy()
    rgba.putalpha(alpha)
    rgba.save(HERE / "ship-alpha.png")
    Image.merge("LA", (small.convert("L"), alpha)).save(HERE / "ship-gray-alpha.png")
    second = small.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    small.save(HERE / "ship-animated.gif", save_all=True, append_images=[second], duration=200)


if __name__ == "__main__":
    main()
