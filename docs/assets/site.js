// What Material's own script leaves out for people who use a keyboard or a screen reader.

document.querySelector(".md-search").setAttribute("aria-label", "Search");

// A table or code that scrolls can be reached by Tab; what fits is no stop. Material does so for code, but not on a touch
// screen, where it takes the attribute away: then it is set again.
const FRAMES = ".md-typeset__scrollwrap, pre > code";
function reach(frame) {
  if (frame.scrollWidth <= frame.clientWidth) frame.removeAttribute("tabindex");
  else if (frame.getAttribute("tabindex") !== "0") frame.tabIndex = 0;
}
const sizes = new ResizeObserver((changes) => changes.forEach(({ target }) => reach(target)));

// The script wraps tables and adds the copy buttons, each in a landmark of its own, which it is not.
function mend(part) {
  for (const bar of part.querySelectorAll(".md-code__nav:not([role])")) bar.setAttribute("role", "none");
  for (const frame of part.querySelectorAll(FRAMES)) sizes.observe(frame);
}
mend(document.body);
new MutationObserver((changes) => {
  if (changes.some(({ type }) => type === "childList")) mend(document.body);
  for (const { target, type } of changes) if (type === "attributes" && target.matches(FRAMES)) reach(target);
}).observe(document.body, { attributeFilter: ["tabindex"], childList: true, subtree: true });
