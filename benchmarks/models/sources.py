"""What is imported: networks by name, and folders as Hugging Face's models come in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

TORCHVISION = (
    "alexnet", "vgg11_bn", "resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2",
    "densenet121", "googlenet", "inception_v3", "squeezenet1_1", "mobilenet_v2",
    "mobilenet_v3_large", "mobilenet_v3_small", "shufflenet_v2_x1_0", "mnasnet1_0",
    "efficientnet_b0", "efficientnet_v2_s", "regnet_x_400mf", "regnet_y_400mf", "convnext_tiny",
    "vit_b_16", "swin_t", "swin_v2_t", "maxvit_t"
)  # fmt: skip
# The last two are squashed, to 384 pixels, the last one with a crop after it.
TIMM = (
    "convnext_atto", "resnet10t", "mobilenetv4_conv_small", "regnetz_005",
    "vit_tiny_patch16_224", "deit_tiny_patch16_224", "levit_128s", "efficientvit_b0",
    "mobileone_s0", "repvgg_a0", "ghostnet_100", "lcnet_050", "xcit_nano_12_p16_224",
    "edgenext_xx_small", "poolformer_s12", "vit_tiny_patch16_384", "convnextv2_atto",
    "mixer_s32_224", "tinynet_e", "rexnet_100", "fastvit_t8", "pit_ti_224",
    "convnextv2_nano.fcmae_ft_in22k_in1k_384", "vit_base_patch32_clip_384.openai_ft_in12k_in1k",
)  # fmt: skip
BACKENDS = ("torchvision", "pil")


def hugging_face() -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """A configuration and an image processor of each, as they are published."""
    import transformers as t

    return {
        "vit": (t.ViTConfig, t.ViTImageProcessor),
        "convnext": (
            t.ConvNextConfig,
            lambda: t.ConvNextImageProcessor(size={"shortest_edge": 224}),
        ),
        "convnext_384": (t.ConvNextConfig, t.ConvNextImageProcessor),
        "swin": (
            t.SwinConfig,
            lambda: t.ViTImageProcessor(
                resample=3, image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225]
            ),
        ),
        "resnet": (t.ResNetConfig, lambda: t.ConvNextImageProcessor(size={"shortest_edge": 224})),
        "mobilenet_v2": (t.MobileNetV2Config, t.MobileNetV2ImageProcessor),
    }


def write_hugging_face(folder: Path, name: str, classes: int = 1000, **config: Any) -> Path:
    """The folder of a model without weights."""
    configuration, processor = hugging_face()[name]
    made = configuration(num_labels=classes, **config)  # type: ignore[call-arg]
    made.save_pretrained(folder)
    processor().save_pretrained(folder)
    return folder
