// Search and zoom of the flame graph. Text is only ever read from titles and set as text, never parsed as markup.
(function () {
  "use strict";
  function boxes() {
    return Array.prototype.slice.call(document.querySelectorAll("#boxes > g"));
  }
  function title(group) {
    return group.querySelector("title").textContent;
  }
  function note(text) {
    document.getElementById("note").textContent = text;
  }
  function search() {
    var wanted = window.prompt("Show functions whose name contains:", "");
    if (wanted === null) return;
    var hits = 0;
    boxes().forEach(function (group) {
      var hit = wanted !== "" && title(group).toLowerCase().indexOf(wanted.toLowerCase()) !== -1;
      group.setAttribute("class", hit ? "b hit" : "b");
      hits += hit ? 1 : 0;
    });
    note(wanted === "" ? "" : hits + " frames contain the text");
  }
  function place(group, x, width) {
    var rect = group.querySelector("rect");
    var text = group.querySelector("text");
    rect.setAttribute("x", x);
    rect.setAttribute("width", Math.max(width, 0));
    text.setAttribute("x", x + 2);
    var letters = Math.floor((width - 4) / 6.6);
    var name = title(group).split(" [")[0];
    text.textContent = letters < 3 ? "" : name.length <= letters ? name : name.slice(0, letters - 1) + "\u2026";
    group.style.display = width < 0.1 ? "none" : "";
  }
  function zoom(left, width) {
    boxes().forEach(function (group) {
      var rect = group.querySelector("rect");
      if (!group.dataset.x) {
        group.dataset.x = rect.getAttribute("x");
        group.dataset.width = rect.getAttribute("width");
      }
      var x = Number(group.dataset.x);
      var end = x + Number(group.dataset.width);
      var from = Math.max(x, left);
      var to = Math.min(end, left + width);
      place(group, ((from - left) * 1200) / width, ((to - from) * 1200) / width);
    });
  }
  document.addEventListener("click", function (event) {
    var target = event.target;
    if (target.id === "search") return search();
    var group = target.parentNode;
    if (target.tagName === "rect" && group.parentNode && group.parentNode.id === "boxes") {
      var rect = target;
      zoom(Number(group.dataset.x || rect.getAttribute("x")), Number(group.dataset.width || rect.getAttribute("width")));
    } else {
      zoom(0, 1200);
    }
  });
  document.addEventListener("keydown", function (event) {
    if ((event.ctrlKey || event.metaKey) && event.key === "f") {
      event.preventDefault();
      search();
    }
  });
})();
