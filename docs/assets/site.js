// What Material's own script leaves out for people who use a keyboard or a screen reader.

document.querySelector(".md-search").setAttribute("aria-label", "Search");

// A table or code that scrolls can be reached by Tab, on a touch screen too; what fits is no stop.
const sizes = new ResizeObserver((changes) => {
  for (const { target } of changes) {
    target.toggleAttribute("tabindex", false);
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
  }
});

// The script wraps tables and adds the copy buttons, each in a landmark of its own, which it is not.
function mend(part) {
  for (const bar of part.querySelectorAll(".md-code__nav:not([role])")) bar.setAttribute("role", "none");
  for (const frame of part.querySelectorAll(".md-typeset__scrollwrap, pre > code")) sizes.observe(frame);
}
mend(document.body);
new MutationObserver(() => mend(document.body)).observe(document.body, { childList: true, subtree: true });
