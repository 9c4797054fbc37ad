// Starts the page: its tabs, by pointer, arrow keys and address.

import { startAnimate } from "/page/animate.js";
import { startExplore } from "/page/explore.js";
import { startJobs } from "/page/jobs.js";

const tabs = [...document.querySelectorAll("[role=tab]")];
const portrait = startAnimate();
const openExplore = startExplore(portrait);
const openJobs = startJobs();

function select(tab, focus = false) {
  for (const one of tabs) {
    const isIt = one === tab;
    one.setAttribute("aria-selected", isIt);
    one.tabIndex = isIt ? 0 : -1;
    document.getElementById(one.getAttribute("aria-controls")).hidden = !isIt;
  }
  const name = tab.getAttribute("aria-controls");
  history.replaceState(null, "", name === "animate" ? "/" : `#${name}`);
  if (name === "explore") openExplore();
  openJobs(name === "jobs");
  if (focus) tab.focus();
}

tabs.forEach((tab, index) => {
  tab.addEventListener("click", () => select(tab));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) select(tabs[(index + step + tabs.length) % tabs.length], true);
  });
});
const asked = tabs.find((tab) => `#${tab.getAttribute("aria-controls")}` === location.hash);
if (asked) select(asked);
