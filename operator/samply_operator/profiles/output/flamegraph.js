// Search and zoom of the flame graph. Text is only ever read from titles and set as text, never parsed as markup.
// No dialogs: the page may be sandboxed, where they are off.
(function () {
  "use strict";
  var WIDTH = 1200;
  var boxes = Array.prototype.slice.call(document.querySelectorAll("#boxes > g")).map(function (group) {
    var rect = group.querySelector("rect");
    var title = group.querySelector("title").textContent;
    return {
      group: group,
      rect: rect,
      text: group.querySelector("text"),
      title: title,
      name: title.split(" [")[0],
      lower: title.split(" [")[0].toLowerCase(),
      x: Number(rect.getAttribute("x")),
      width: Number(rect.getAttribute("width")),
    };
  });
  var query = document.getElementById("query");
  var note = document.getElementById("note");
  var details = document.getElementById("details");
  var reset = document.getElementById("reset");
  var said = note.textContent;

  function search() {
    var wanted = query.value.trim().toLowerCase();
    var hits = 0;
    var covered = 0;
    var spans = [];
    boxes.forEach(function (box) {
      var hit = wanted !== "" && box.lower.indexOf(wanted) !== -1;
      box.group.setAttribute("class", hit ? "b hit" : wanted === "" ? "b" : "b dim");
      if (!hit) return;
      hits += 1;
      // Boxes come parents first: one inside of a hit is counted with it.
      var inside = spans.some(function (span) {
        return box.x >= span[0] - 0.01 && box.x + box.width <= span[1] + 0.01;
      });
      if (!inside) {
        spans.push([box.x, box.x + box.width]);
        covered += box.width;
      }
    });
    var share = ((100 * covered) / WIDTH).toFixed(1);
    note.textContent = wanted === "" ? said : hits + " frames, " + share + " % of all, contain \u201c" + wanted + "\u201d";
  }

  function zoom(left, width) {
    boxes.forEach(function (box) {
      var from = Math.max(box.x, left);
      var to = Math.min(box.x + box.width, left + width);
      var x = ((from - left) * WIDTH) / width;
      var wide = ((to - from) * WIDTH) / width;
      box.group.style.display = wide < 0.1 ? "none" : "";
      if (wide < 0.1) return;
      box.rect.setAttribute("x", x);
      box.rect.setAttribute("width", wide);
      box.text.setAttribute("x", x + 3);
      var letters = Math.floor((wide - 6) / 6.65);
      var name = box.name;
      box.text.textContent = letters < 3 ? "" : name.length <= letters ? name : name.slice(0, letters - 1) + "\u2026";
    });
    reset.style.display = width < WIDTH ? "" : "none";
  }

  boxes.forEach(function (box) {
    box.group.addEventListener("click", function (event) {
      event.stopPropagation();
      zoom(box.x, box.width);
    });
    box.group.addEventListener("mouseenter", function () {
      details.textContent = box.title;
    });
    box.group.addEventListener("mouseleave", function () {
      details.textContent = "";
    });
  });
  reset.addEventListener("click", function () {
    zoom(0, WIDTH);
  });
  query.addEventListener("input", search);
  document.addEventListener("keydown", function (event) {
    if ((event.ctrlKey || event.metaKey) && event.key === "f") {
      event.preventDefault();
      query.focus();
      query.select();
    } else if (event.key === "Escape") {
      query.value = "";
      search();
      zoom(0, WIDTH);
    }
  });
})();
