// A small copy of an image, as far as the browser can show it.

import { element } from "./element.js";
import { Queue } from "./queue.js";

const SIDE = 192; // pixels; twice what is shown
// A photograph takes hundreds of megabytes while it is decoded: one at a time.
const decoding = new Queue(1);

/** A canvas with the image, or the kind of the file where the browser cannot read it. */
export function thumbnail(file) {
  return decoding.run(async () => {
    try {
      const image = await createImageBitmap(file);
      const scale = Math.min(1, SIDE / Math.max(image.width, image.height));
      const canvas = element("canvas", {
        width: Math.max(1, Math.round(scale * image.width)),
        height: Math.max(1, Math.round(scale * image.height)),
      });
      const context = canvas.getContext("2d");
      context.imageSmoothingQuality = "high";
      context.drawImage(image, 0, 0, canvas.width, canvas.height);
      canvas.classList.toggle("tiny", image.width <= SIDE / 2 && image.height <= SIDE / 2);
      image.close();
      return canvas;
    } catch {
      const kind = /\.(\w{1,5})$/.exec(file.name)?.[1] ?? "file";
      return element("span", { className: "kind" }, kind.toUpperCase());
    }
  });
}
