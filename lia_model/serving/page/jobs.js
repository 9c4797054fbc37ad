// The tab that lists animations and the batches they belong to.

import { chosenOptions } from "/page/animate.js";
import { blob, call, form, json, say } from "/page/api.js";
import { button, element } from "/page/dom.js";

const REFRESH_MS = 3000;
const PAGE = 25;
const get = (id) => document.getElementById(id);

export function startJobs() {
  const rows = new Map();
  let next = null;
  let timer = null;

  const status = () => get("filter").elements.status.value;
  const first = () => `/v1/animations?limit=${PAGE}${status() ? `&status=${status()}` : ""}`;

  async function load(path, isFirst) {
    try {
      const page = await json(path);
      if (isFirst) {
        const ids = new Set(page.animations.map((job) => job.id));
        if (!next) for (const id of [...rows.keys()]) if (!ids.has(id)) drop(id);
      }
      const added = page.animations.filter((job) => !update(job));
      const nodes = added.map((job) => { const row = build(job); rows.set(job.id, row); return row.node; });
      if (isFirst) get("job-list").prepend(...nodes);
      else get("job-list").append(...nodes);
      if (!isFirst || next === null) next = page.next;
      get("more").hidden = !next;
      get("no-jobs").hidden = rows.size > 0;
      say("jobs-failure", "");
    } catch (error) {
      say("jobs-failure", error.message);
    }
  }

  function drop(id) {
    rows.get(id).node.remove();
    rows.delete(id);
    get("no-jobs").hidden = rows.size > 0;
  }

  function update(job) {
    const row = rows.get(job.id);
    if (row) row.show(job);
    return Boolean(row);
  }

  function build(job) {
    const state = element("strong");
    const text = element("p");
    const actions = element("div", { class: "actions" });
    const node = element("li", {}, state, text, actions);
    let now = "";
    const show = (one) => {
      state.textContent = one.status;
      state.className = one.status;
      text.textContent = describe(one);
      if (now === one.status) return;
      now = one.status;
      actions.replaceChildren();
      if (now === "succeeded") actions.append(button("Play", () => play(one, node)));
      if (one.batch === null || ["queued", "running"].includes(now)) {
        const word = ["queued", "running"].includes(now) ? "Cancel" : "Delete";
        actions.append(button(word, () => remove(one)));
      }
    };
    show(job);
    return { node, show };
  }

  async function remove(job) {
    try {
      await call(job.links.self, { method: "DELETE" });
      if (!["queued", "running"].includes(job.status)) drop(job.id);
      await load(first(), true);
    } catch (error) {
      say("jobs-failure", error.message);
    }
  }

  async function play(job, node) {
    try {
      const src = URL.createObjectURL(await blob(job.links.video));
      node.querySelector("video")?.remove();
      node.append(element("video", { src, controls: true, autoplay: true, loop: true, playsinline: true }));
    } catch (error) {
      say("jobs-failure", error.message);
    }
  }

  function reload() {
    rows.clear();
    next = null;
    get("job-list").replaceChildren();
    return load(first(), true);
  }
  get("batch").addEventListener("submit", async (event) => {
    event.preventDefault();
    await submitAll(event.target, get("batch-status"));
    reload();
  });
  get("filter").addEventListener("change", reload);
  get("filter").addEventListener("submit", (event) => event.preventDefault());
  get("more").addEventListener("click", () => load(next, false));

  return (isOpen) => {
    clearInterval(timer);
    if (!isOpen) return;
    reload();
    timer = setInterval(() => document.hidden || load(first(), true), REFRESH_MS);
  };
}

// Each portrait is a job of its own; one that is refused does not stop the others.
async function submitAll(place, status) {
  const { sources, driving } = place.elements;
  const send = place.querySelector("button");
  const files = [...sources.files];
  const refused = [];
  send.disabled = true;
  say("batch-failure", "");
  for (const [index, source] of files.entries()) {
    status.textContent = `Sending ${index + 1} of ${files.length} …`;
    try {
      await json("/v1/animations", { method: "POST", body: form({ source, driving: driving.files[0], ...chosenOptions() }) });
    } catch (error) {
      refused.push(`${source.name}: ${error.message}`);
    }
  }
  send.disabled = false;
  status.textContent = `${files.length - refused.length} of ${files.length} are in the list below.`;
  say("batch-failure", refused.join(" · "));
}

function describe(job) {
  const when = new Date(1000 * job.submitted_s).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  const frames = job.frames_total ? `${job.frames_done} of ${job.frames_total} frames` : "";
  const batch = job.batch ? `batch ${job.batch.slice(0, 8)}` : "";
  const model = `${job.model.name} ${job.model.version}`;
  return [when, frames, batch, model, job.error?.message].filter(Boolean).join(" · ");
}
