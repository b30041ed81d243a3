// Where a table is too wide, long names in it may be broken. On narrow screens formulas and tables
// shrink until they fit, but not below what can be read; then they scroll by themselves.
function fit() {
  for (const box of document.querySelectorAll("div.formula, .pst-scrollable-table-container")) {
    box.style.fontSize = "";
    const inner = box.querySelector("table") || box;
    inner.style.fontSize = "";
    inner.classList.remove("breaks");
    if (box.scrollWidth > box.clientWidth + 1) inner.classList.add("breaks");
    const least = box.matches("div.formula") ? 50 : 80;
    for (let size = 95; size >= least && box.scrollWidth > box.clientWidth + 1; size -= 5) {
      inner.style.fontSize = size / 100 + "em";
    }
  }
}
window.addEventListener("load", fit);
window.addEventListener("resize", fit);
