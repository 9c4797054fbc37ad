// Builds elements without markup in strings.

const SVG = "http://www.w3.org/2000/svg";

function build(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

export const element = (tag, attributes = {}, ...children) =>
  build(document.createElement(tag), attributes, children);
export const shape = (tag, attributes = {}) => build(document.createElementNS(SVG, tag), attributes, []);
export const button = (text, onclick) => element("button", { type: "button", onclick }, text);

// Resolves once the video has a picture; rejects if the browser cannot play it.
export function loaded(video) {
  return new Promise((resolve, reject) => {
    if (video.readyState >= 2) resolve();
    video.addEventListener("loadeddata", () => resolve(), { once: true });
    video.addEventListener("error", () => reject(new Error("This browser cannot show the video.")), { once: true });
  });
}

export async function firstPicture(file) {
  const url = URL.createObjectURL(file);
  try {
    const video = element("video", { src: url, muted: true, preload: "auto" });
    await loaded(video);
    return await photo(video, file.name.replace(/\.\w+$/, ".jpg"));
  } finally {
    URL.revokeObjectURL(url);
  }
}

export async function photo(video, name) {
  const canvas = element("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  const picture = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
  return new File([picture], name, { type: "image/jpeg" });
}
