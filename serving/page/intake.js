// The ways in which images come: dropped, pasted, chosen, photographed.

/** Calls `take` with the files of each time, and `refuse` with a sentence where there are none. */
export function listen(take, refuse) {
  const zone = document.getElementById("drop");
  const give = (files) =>
    files.length ? take([...files]) : refuse("There is no file in it; save the image first.");

  for (const name of ["choose", "photograph"]) {
    document.getElementById(name).addEventListener("change", (event) => {
      if (event.target.files.length) give(event.target.files);
      event.target.value = ""; // so that the same file can be chosen again
    });
  }

  // Where there is no touch, it would do what the other button does.
  document.getElementById("camera").hidden = navigator.maxTouchPoints === 0;

  // Anywhere on the page: beside the zone, the browser would open the image instead.
  let depth = 0;
  const mark = (change) => {
    depth = Math.max(0, depth + change);
    zone.classList.toggle("over", depth > 0);
  };
  document.addEventListener("dragenter", () => mark(1));
  document.addEventListener("dragleave", () => mark(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    mark(-depth);
    give(event.dataTransfer.files);
  });

  document.addEventListener("paste", (event) => {
    if (event.target.closest?.("input")) return;
    event.preventDefault();
    give(event.clipboardData.files);
  });
}
