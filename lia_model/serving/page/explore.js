// The tab with a slider for each motion direction. Only the newest position is sent: while a picture is on its
// way, later positions replace one another.

import { call, form, json, say } from "/page/api.js";
import { element } from "/page/dom.js";
import { Picker } from "/page/picker.js";

const get = (id) => document.getElementById(id);
const SMALL_PX = 128; // larger pictures travel as JPEG

export function startExplore(animatePortrait) {
  const sliders = [];
  let portrait = null; // the service's name of it
  let wanted = false;
  let busy = false;
  let sizePx = 0;
  let shown = null;
  let times = [];

  let subject = null;
  subject = new Picker("subject", "portrait", () => {
    portrait = null;
    if (subjectReady()) render();
  });
  function subjectReady() { return subject?.crop?.square; }

  async function open() {
    if (!sliders.length) await showSliders();
    if (!subject.file && animatePortrait.file) subject.choose(animatePortrait.file);
  }

  async function showSliders() {
    try {
      const found = await json("/v1/directions");
      if (sliders.length) return;
      sizePx = found.size_px;
      get("sliders").replaceChildren(...found.directions.map(row));
    } catch (error) {
      say("explore-failure", error.message);
    }
  }

  function row(direction) {
    const usual = `Direction ${direction.number}`;
    const value = element("output", {}, "0.0");
    const slider = element("input", {
      type: "range", min: direction.min, max: direction.max, step: 0.05, value: 0, "aria-label": direction.name || usual,
      oninput: () => { value.textContent = Number(slider.value).toFixed(1); render(); },
      ondblclick: () => { slider.value = 0; slider.dispatchEvent(new Event("input")); },
    });
    const name = element("input", {
      type: "text", value: direction.name, placeholder: usual, maxlength: 60, "aria-label": `Name of direction ${direction.number}`,
      onkeydown: (event) => event.key === "Enter" && name.blur(),
      onchange: async () => {
        try {
          await call(`/v1/directions/${direction.number}`, {
            method: "PUT", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ name: name.value }),
          });
          slider.setAttribute("aria-label", name.value || usual);
          say("explore-failure", "");
        } catch (error) {
          say("explore-failure", error.message);
        }
      },
    });
    sliders.push({ slider, value });
    return element("li", {}, name, slider, value);
  }

  async function render() {
    wanted = true;
    if (busy || !subjectReady()) return;
    busy = true;
    while (wanted && subjectReady()) {
      wanted = false;
      try {
        await paint();
        say("explore-failure", "");
      } catch (error) {
        if (error.code === "unknown_portrait") { portrait = null; wanted = true; } else say("explore-failure", error.message);
      }
    }
    busy = false;
  }

  async function paint() {
    const begin = performance.now();
    const given = portrait ? { portrait } : {
      source: subject.file, square: subject.square, face: subject.square ? null : subject.face,
    };
    const of = subject.file;
    const square = subject.square;
    const weights = sliders.length ? sliders.map(({ slider }) => slider.value).join(",") : null;
    const format = sizePx > SMALL_PX ? "jpeg" : "png";
    const answer = await call("/v1/manipulations", { method: "POST", body: form({ ...given, weights, format }) });
    if (of !== subject.file || square !== subject.square) { wanted = true; return; }
    portrait = answer.headers.get("LIA-Portrait");
    const url = URL.createObjectURL(await answer.blob());
    const image = get("live");
    image.src = url;
    await image.decode().catch(() => {});
    image.hidden = false;
    image.dataset.count = Number(image.dataset.count ?? 0) + 1;
    if (shown) URL.revokeObjectURL(shown);
    shown = url;
    get("save").href = url;
    get("save").download = `portrait.${format}`;
    get("save").hidden = false;
    times = [...times.slice(-19), performance.now() - begin];
    const median = [...times].sort((a, b) => a - b)[times.length >> 1];
    get("pace").textContent = `${sizePx} px, ${Math.round(median)} ms a picture`;
  }

  function setAll(position) {
    for (const { slider, value } of sliders) {
      slider.value = position(slider);
      value.textContent = Number(slider.value).toFixed(1);
    }
    render();
  }
  get("reset").addEventListener("click", () => setAll(() => 0));
  get("surprise").addEventListener("click", () => setAll((slider) => (Math.random() - 0.5) * Number(slider.max)));
  return open;
}
