// The tab that animates: sends the job, follows it, plays the result in step with source and driving clip.

import { blob, call, form, json, say } from "/page/api.js";
import { element } from "/page/dom.js";
import { Picker } from "/page/picker.js";

const POLL_MS = 400;
const get = (id) => document.getElementById(id);

export function startAnimate() {
  const start = get("start");
  let job = null;
  const ready = () => { start.disabled = job !== null || !portrait?.file || !driving?.file; };
  let portrait = null;
  let driving = null;
  portrait = new Picker("portrait", "portrait", ready);
  driving = new Picker("driving", "driving", ready);
  ready();
  showModels();

  get("options").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (start.disabled) return;
    say("failure", "");
    get("result").hidden = true;
    try {
      job = "new";
      ready();
      progress(0, "Sending …");
      const accepted = await json("/v1/animations", { method: "POST", body: fields(portrait, driving) });
      job = accepted.links;
      const status = await follow(job.self);
      if (status.status === "succeeded") await showResult(status, portrait.file, driving.file);
      else if (status.status === "failed") say("failure", status.error.message);
    } catch (error) {
      if (error.status !== 404) say("failure", error.message);
    } finally {
      job = null;
      get("progress").hidden = true;
      ready();
    }
  });
  get("cancel").addEventListener("click", () => job?.self && call(job.self, { method: "DELETE" }).catch((error) => say("failure", error.message)));
  return portrait;
}

async function showModels() {
  const models = await json("/v1/models").then((list) => list.available, () => []);
  const choice = get("options").elements.model;
  choice.replaceChildren(...models.map((model) =>
    element("option", {
      value: model.version === "local" ? model.name : `models:/${model.name}/${model.version}`,
      selected: model.is_default,
    }, modelName(model))));
  const showLicences = () => {
    const licences = Object.entries(models[choice.selectedIndex]?.licences ?? {});
    get("model-licences").textContent = licences.map(([part, note]) => `Licence of its ${part}: ${note}.`).join(" ");
  };
  choice.addEventListener("change", showLicences);
  showLicences();
}

function modelName(model) {
  if (model.version === "local") return model.name;
  const aliases = model.aliases.length ? ` (${model.aliases.join(", ")})` : "";
  return `${model.name}, version ${model.version}${aliases}`;
}

// The options of the form, for any portrait.
export function chosenOptions() {
  const chosen = get("options").elements;
  return {
    mode: chosen.mode.value, start: chosen.start.value, fps: chosen.fps.value, model: chosen.model.value || null,
    crop: chosen.crop.checked, paste_back: chosen.paste_back.checked, side_by_side: chosen.side_by_side.checked,
    size_px: chosen.size_px.value,
    directions: chosen.directions.value.trim() || null, exclude_directions: chosen.exclude_directions.value.trim() || null,
  };
}

function fields(portrait, driving) {
  const options = chosenOptions();
  return form({
    source: portrait.file, driving: driving.file, ...options,
    face: portrait.square || !options.crop ? null : portrait.face, square: portrait.square,
  });
}

function progress(share, text) {
  const place = get("progress");
  place.hidden = false;
  place.querySelector("progress").value = share;
  const status = place.querySelector("[role=status]");
  if (status.textContent !== text) status.textContent = text;
}

async function follow(link) {
  for (;;) {
    const status = await json(link);
    if (!["queued", "running"].includes(status.status)) return status;
    const words = status.status === "queued" ? "Waiting for its turn …"
      : status.frames_total ? `${status.frames_done} of ${status.frames_total} frames` : "Looking for the face …";
    progress(status.progress, words);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

async function showResult(status, source, driving) {
  progress(1, "Loading the result …");
  const result = URL.createObjectURL(await blob(status.links.video));
  const video = get("result-video");
  video.src = result;
  get("download").href = result;
  get("made-by").textContent = `${status.frames_done} frames, made by ${status.model.name} ${status.model.version}; a synthetic video`;
  get("warnings").replaceChildren(...status.warnings.map((text) => element("li", {}, text)));
  const followers = [follower(source, get("result-source"))].filter(Boolean);
  const driven = get("result-driving");
  const isClip = driving.type.startsWith("video/");
  driven.parentElement.hidden = !isClip;
  if (isClip) {
    driven.src = URL.createObjectURL(driving);
    followers.push(driven);
  }
  keepInStep(video, followers);
  get("result").hidden = false;
  video.play().catch(() => {});
  get("result").scrollIntoView({ block: "nearest" });
}

function follower(source, place) {
  const src = URL.createObjectURL(source);
  const isVideo = source.type.startsWith("video/");
  const shown = isVideo ? element("video", { src, playsinline: true, loop: true }) : element("img", { src, alt: "Source" });
  shown.muted = true;
  place.replaceChildren(shown);
  return isVideo ? shown : null;
}

// Source and driving clip start, stop and jump with the result.
function keepInStep(leader, followers) {
  const align = () => followers.forEach((one) => {
    if (Math.abs(one.currentTime - leader.currentTime) > 0.08) one.currentTime = leader.currentTime;
  });
  leader.onplay = () => { align(); followers.forEach((one) => one.play().catch(() => {})); };
  leader.onpause = () => { followers.forEach((one) => one.pause()); align(); };
  leader.onseeked = align;
  leader.ontimeupdate = align;
  leader.onratechange = () => followers.forEach((one) => { one.playbackRate = leader.playbackRate; });
}
