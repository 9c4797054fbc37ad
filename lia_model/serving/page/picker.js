// Chooses a picture or a clip: by dropping it, from the disk, from the samples, or with the camera.

import { call, form, json } from "/page/api.js";
import { CropView } from "/page/crop.js";
import { button, element, firstPicture, loaded, photo } from "/page/dom.js";

const MAX_RECORDING_MS = 20_000;
let samples = null;

export class Picker {
  // kind: "portrait" or "driving"; onChange is called with the picker whenever the choice or its crop changes.
  constructor(id, kind, onChange) {
    this.root = document.getElementById(id);
    this.kind = kind;
    this.onChange = onChange;
    this.title = kind === "portrait" ? "Portrait" : "Driving clip";
    this.clear();
    this.root.addEventListener("dragover", (event) => { event.preventDefault(); this.root.classList.add("over"); });
    this.root.addEventListener("dragleave", () => this.root.classList.remove("over"));
    this.root.addEventListener("drop", (event) => {
      event.preventDefault();
      this.root.classList.remove("over");
      if (event.dataTransfer.files.length) this.choose(event.dataTransfer.files[0]);
    });
  }

  clear() {
    this.file = null;
    this.square = null;
    this.face = "largest";
    this.crop = null;
    const input = element("input", {
      type: "file", accept: this.kind === "portrait" ? "image/*,video/*" : "video/*,image/*,.safetensors",
      "aria-label": `${this.title}: choose a file`,
      onchange: (event) => event.target.files.length && this.choose(event.target.files[0]),
    });
    const choices = element("div", { class: "choices" }, element("label", { class: "button" }, "Choose a file", input));
    if (navigator.mediaDevices?.getUserMedia) choices.append(button("Use the camera", () => this.useCamera()));
    const word = this.kind === "portrait" ? "Drop a portrait here" : "Drop a clip of a face here";
    this.samplePlace = element("div", { class: "choices samples" });
    this.root.replaceChildren(
      element("div", { class: "head" }, element("h2", {}, this.title)),
      element("div", { class: "drop" }, element("p", {}, word), choices),
      this.samplePlace,
    );
    this.showSamples();
    this.onChange(this);
  }

  async showSamples() {
    samples ??= json("/v1/samples").catch(() => { samples = null; return { samples: [] }; });
    const found = (await samples).samples;
    const names = found.map((sample) => button(label(sample.name), () => this.chooseSample(sample)));
    if (names.length) this.samplePlace.replaceChildren(element("span", { class: "quiet" }, "Samples"), ...names);
  }

  async chooseSample(sample) {
    const answer = await call(sample.url);
    const file = new File([await answer.blob()], sample.name, { type: "video/mp4" });
    await this.choose(this.kind === "portrait" ? await firstPicture(file) : file);
  }

  async choose(file) {
    const mine = (this.chosen = Symbol());
    if (this.kind === "driving" && file.name.endsWith(".safetensors")) {
      this.showMotion(file);
      return;
    }
    this.file = file;
    this.square = null;
    this.face = "largest";
    this.crop = null;
    const url = URL.createObjectURL(file);
    const isVideo = file.type.startsWith("video/");
    const media = isVideo
      ? element("video", { src: url, muted: true, loop: true, playsinline: true, autoplay: this.kind === "driving", "aria-label": file.name })
      : element("img", { src: url, alt: file.name });
    if (isVideo) media.muted = true;
    this.fit = element("div", { class: "fit" }, media);
    this.note = element("p", { class: "note", role: "status" }, "Looking for a face …");
    this.tune = element("div", { class: "tune" });
    this.root.replaceChildren(
      element("div", { class: "head" }, element("h2", {}, this.title), button("Change", () => { URL.revokeObjectURL(url); this.clear(); })),
      element("div", { class: "stage" }, this.fit), this.note, this.tune,
    );
    this.onChange(this);
    if (isVideo) loaded(media).catch(() => { this.note.textContent = `${file.name}: no preview in this browser.`; });
    try {
      const crop = await json("/v1/crops", { method: "POST", body: form({ picture: file }) });
      if (mine === this.chosen && this.file === file) this.showCrop(crop);
    } catch (error) {
      if (mine === this.chosen) this.fail(error.message);
    }
  }

  showMotion(file) {
    this.file = file;
    this.root.replaceChildren(
      element("div", { class: "head" }, element("h2", {}, this.title), button("Change", () => this.clear())),
      element("p", { class: "note", role: "status" }, `${file.name}: a motion file, which drives without pictures.`),
    );
    this.onChange(this);
  }

  fail(message) {
    this.note.className = "note failure";
    this.note.setAttribute("role", "alert");
    this.note.textContent = message;
  }

  showCrop(crop) {
    this.crop = crop;
    const isPortrait = this.kind === "portrait";
    this.view = new CropView(crop, isPortrait ? (place) => this.adjust(place) : null);
    this.fit.append(this.view.svg);
    if (crop.square === null) {
      const where = isPortrait ? "the picture" : "the first frame; one must appear later";
      this.fail(`No face is seen in ${where}.`);
    } else {
      this.note.textContent = isPortrait
        ? "The model sees the bright square. Drag it where you like."
        : "The model sees the bright square, widened by the face's way through the clip.";
    }
    if (isPortrait && crop.square !== null) this.showTuning(crop);
    this.onChange(this);
  }

  showTuning(crop) {
    this.size = element("input", {
      type: "range", min: 24, max: Math.max(crop.width, crop.height), step: 1, value: this.view.place.side,
      oninput: () => this.view.resize(Number(this.size.value)),
    });
    this.tune.replaceChildren(element("label", {}, "Size", this.size));
    if (crop.faces.length > 1) {
      const numbers = crop.faces.map((_, index) => element("option", { value: index + 1 }, `Face ${index + 1}`));
      const faces = element("select", { "aria-label": "Face", onchange: () => this.chooseFace(faces.value) },
        element("option", { value: "largest" }, "Largest face"), ...numbers);
      this.tune.append(faces);
    }
    this.tune.append(button("Reset", () => this.chooseFace(this.face)));
  }

  async chooseFace(face) {
    const crop = await json("/v1/crops", { method: "POST", body: form({ picture: this.file, face }) });
    this.face = face;
    this.square = null;
    this.view.reset(crop.square);
    this.size.value = this.view.place.side;
    this.onChange(this);
  }

  adjust(place) {
    this.square = `${place.left}:${place.top}:${place.side}`;
    this.size.value = place.side;
    this.onChange(this);
  }

  async useCamera() {
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" } });
    } catch {
      this.samplePlace.replaceChildren(element("p", { class: "failure", role: "alert" }, "The camera cannot be used. Allow it in the browser, or choose a file."));
      return;
    }
    const video = element("video", { autoplay: true, playsinline: true, "aria-label": "Camera" });
    video.muted = true;
    video.srcObject = stream;
    const stop = () => stream.getTracks().forEach((track) => track.stop());
    const shoot = this.kind === "portrait"
      ? button("Take a picture", async () => { const file = await photo(video, "camera.jpg"); stop(); this.choose(file); })
      : button("Record", () => this.record(stream, shoot, stop));
    this.root.replaceChildren(
      element("div", { class: "head" }, element("h2", {}, this.title), button("Cancel", () => { stop(); this.clear(); })),
      element("div", { class: "stage camera" }, video),
      element("div", { class: "choices samples" }, shoot),
    );
  }

  record(stream, shoot, stop) {
    const parts = [];
    const recorder = new MediaRecorder(stream, { mimeType: "video/webm" });
    recorder.ondataavailable = (event) => parts.push(event.data);
    recorder.onstop = () => { stop(); this.choose(new File(parts, "camera.webm", { type: "video/webm" })); };
    recorder.start();
    const timer = setTimeout(() => recorder.stop(), MAX_RECORDING_MS);
    const end = button("Stop", () => { clearTimeout(timer); recorder.stop(); });
    shoot.replaceWith(end);
    end.focus();
  }
}

function label(name) {
  const words = name.replace(/\.\w+$/, "").replace(/[_-]+/g, " ").replace(/([a-z])([A-Z])/g, "$1 $2").replace(/ Pexels$/, "");
  return words[0].toUpperCase() + words.slice(1);
}
