// What the server cannot do for the page: keys, files from the user's computer, and coming back after an interruption.
(() => {
  const trigger = (name, ...values) => window.trame && window.trame.trigger(name, values);
  const state = () => (window.trame ? window.trame.state.state : {});
  const views = ["Red", "Green", "Yellow", "ThreeD"];
  let over = "Red";

  // --- keys
  const keys = {
    p: () => trigger("use", "place"),
    b: () => trigger("use", "brush"),
    e: () => trigger("use", "eraser"),
    g: () => trigger("assess"),
    h: () => trigger("toggle", "heatmap"),
    o: () => trigger("toggle", "outline"),
    c: () => trigger("toggle", "cross"),
    f: () => trigger("whole"),
    w: () => {
      const all = state().windows;
      trigger("window", all[(all.indexOf(state().window) + 1) % all.length]);
    },
    "[": () => trigger("step", -1),
    "]": () => trigger("step", 1),
    "?": () => trigger("show", "dialog", "help"),
    ArrowUp: () => trigger("scroll", over, 1),
    ArrowDown: () => trigger("scroll", over, -1),
    Escape: () => (state().dialog ? trigger("show", "dialog", "") : trigger("use", "look")),
  };
  views.forEach((view, n) => {
    keys[n + 1] = () => trigger("show", "big", state().big === view ? "" : view);
  });
  document.addEventListener(
    "keydown",
    (event) => {
      const writes = event.target.closest("input, select, textarea");
      const arrows = event.key.startsWith("Arrow") && event.target.closest("[role=tabpanel], input, select");
      if (event.ctrlKey || event.metaKey || event.altKey || arrows || (writes && event.key !== "Escape")) return;
      const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (act) {
        act();
        event.preventDefault();
        event.stopPropagation();
      }
    },
    true,
  );
  document.addEventListener("pointerover", (event) => {
    const view = event.target.closest("[data-view]");
    if (view && view.dataset.view !== "ThreeD") over = view.dataset.view;
  });

  // --- names of the pictures that the server draws, for who cannot see them
  new MutationObserver(() => {
    for (const image of document.querySelectorAll("[data-view] img:not([alt])")) {
      image.alt = image.closest("[data-view]").dataset.name;
    }
  }).observe(document.documentElement, { childList: true, subtree: true });

  // --- files
  const said = (text) => {
    const place = document.getElementById("nr-upload");
    if (place) place.textContent = text;
  };
  const send = (files) => {
    if (!files.length) return;
    const prior = state().dialog === "prior";
    if (!state().dialog) trigger("show", "dialog", "open");
    const form = new FormData();
    files.forEach((file) => form.append("file", file, file.name));
    const request = new XMLHttpRequest();
    request.open("POST", `upload?prior=${prior ? 1 : 0}`);
    request.upload.onprogress = (event) => said(`Sending: ${Math.round((100 * event.loaded) / event.total)} %`);
    request.upload.onload = () => said("Reading …");
    request.onerror = () => said("The upload was cut off: send it again.");
    request.onload = () => {
      let answer = {};
      try {
        answer = JSON.parse(request.responseText);
      } catch {
        answer = { error: request.statusText || "The upload was refused." };
      }
      if (answer.error) said(answer.error);
      else trigger("show", "dialog", "");
    };
    request.send(form);
  };
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-upload]")) send([...event.target.files]);
  });
  const entries = async (entry) => {
    if (entry.isFile) return [await new Promise((done, failed) => entry.file(done, failed))];
    const reader = entry.createReader();
    const found = [];
    for (;;) {
      const some = await new Promise((done, failed) => reader.readEntries(done, failed));
      if (!some.length) break;
      for (const one of some) found.push(...(await entries(one)));
    }
    return found;
  };
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      document.body.classList.toggle("nr-drop", kind === "dragover");
    });
  }
  document.addEventListener("drop", async (event) => {
    const dropped = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    send((await Promise.all(dropped.map(entries))).flat());
  });

  // --- downloads that say why they fail instead of saving the reason
  document.addEventListener("click", async (event) => {
    const link = event.target.closest("a[download]");
    if (!link) return;
    event.preventDefault();
    const answer = await fetch(link.href).catch(() => null);
    if (!answer || !answer.ok) {
      const told = answer ? await answer.json().catch(() => ({})) : {};
      trigger("complain", told.error || "The file could not be fetched.");
      return;
    }
    const name = /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition") || "");
    const saving = document.createElement("a");
    saving.href = URL.createObjectURL(await answer.blob());
    saving.download = name ? name[1] : "nodulerisk";
    saving.click();
    setTimeout(() => URL.revokeObjectURL(saving.href), 10000);
  });

  // --- coming back
  const asking = setInterval(async () => {
    if (!document.getElementById("nr-gone")) return;
    const answer = await fetch("alive", { cache: "no-store" }).catch(() => null);
    if (answer && (answer.ok || answer.status === 401)) {
      // Once: a second one would ask for a second session while the first is being started.
      clearInterval(asking);
      window.location.reload();
    }
  }, 2000);
})();
