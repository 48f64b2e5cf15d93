/* Refreshes what changes, writes times in the reader's own zone, sends actions. No library, nothing inline. */
(function () {
  "use strict";

  var page = document.getElementById("workflows");
  if (!page) { return; }
  // With the origin: a page that was opened as http://name:password@... may fetch nothing that is relative to it.
  var origin = window.location.origin;
  var api = origin + page.dataset.api;

  // --- times ---------------------------------------------------------------------------------------------------------

  function span(ms) {
    var s = Math.abs(ms) / 1000;
    if (s < 1) { return Math.round(Math.abs(ms)) + " ms"; }
    if (s < 60) { return s.toFixed(s < 10 ? 1 : 0) + " s"; }
    if (s < 3600) { return Math.floor(s / 60) + "m " + Math.floor(s % 60) + "s"; }
    if (s < 172800) { return Math.floor(s / 3600) + "h " + Math.floor(s % 3600 / 60) + "m"; }
    return Math.floor(s / 86400) + " d";
  }

  function pad(number) { return (number < 10 ? "0" : "") + number; }

  function local(date) {
    return date.getFullYear() + "-" + pad(date.getMonth() + 1) + "-" + pad(date.getDate()) + " " +
      pad(date.getHours()) + ":" + pad(date.getMinutes()) + ":" + pad(date.getSeconds());
  }

  function tell() {
    var now = Date.now();
    page.querySelectorAll("time.wf-time").forEach(function (element) {
      var ms = Number(element.dataset.ms);
      var away = now - ms;
      element.textContent = local(new Date(ms));
      element.title = away >= 0 ? span(away) + " ago" : "in " + span(away);
    });
    page.querySelectorAll(".wf-since").forEach(function (element) {
      element.textContent = span(Math.max(now - Number(element.dataset.ms), 0));
    });
  }

  // --- refresh -------------------------------------------------------------------------------------------------------

  var live = page.querySelector("[data-live]");
  var tag = live && live.dataset.version ? '"' + live.dataset.version + '"' : "";
  var every = live ? Number(live.dataset.every) : 0;
  var failures = 0;
  var timer = 0;

  function keep(old, fresh) {
    var open = Array.from(old.querySelectorAll("details[open][id]")).map(function (item) { return item.id; });
    open.forEach(function (id) {
      var found = fresh.querySelector("#" + CSS.escape(id));
      if (found) { found.open = true; }
    });
  }

  function put(text) {
    var parsed = new DOMParser().parseFromString(text, "text/html");
    var fresh = Array.from(parsed.querySelectorAll("[data-region]"));
    var known = {};
    live.querySelectorAll("[data-region]").forEach(function (region) { known[region.dataset.region] = region; });
    var sent = {};
    fresh.forEach(function (region) { sent[region.dataset.region] = true; });
    var same = fresh.length === Object.keys(known).length &&
      fresh.every(function (region) { return known[region.dataset.region]; });
    if (!same) {  // a part has come or gone
      keep(live, parsed.body);
      live.replaceChildren.apply(live, Array.from(parsed.body.childNodes));
      return;
    }
    fresh.forEach(function (region) {
      var old = known[region.dataset.region];
      if (old.wfSource === undefined || old.wfSource !== region.outerHTML) {
        var source = region.outerHTML;
        keep(old, region);
        old.replaceWith(region);
        region.wfSource = source;
      }
    });
  }

  function again(soon) {
    window.clearTimeout(timer);
    if (live && every) {
      timer = window.setTimeout(refresh, soon ? 50 : every * Math.min(Math.pow(2, failures), 16));
    }
  }

  function refresh() {
    if (document.hidden || document.querySelector("dialog[open]")) { again(false); return; }
    var headers = tag ? { "If-None-Match": tag } : {};
    fetch(origin + live.dataset.live, { headers: headers, credentials: "same-origin", cache: "no-store", redirect: "error" })
      .then(function (reply) {
        if (reply.status === 304) { failures = 0; return null; }
        if (!reply.ok) { throw new Error(String(reply.status)); }
        tag = reply.headers.get("ETag") || "";
        return reply.text();
      })
      .then(function (text) {
        if (text !== null) { failures = 0; put(text); tell(); }
      })
      .catch(function () { failures += 1; })
      .finally(function () {
        page.classList.toggle("wf-stale", failures > 2);
        again(false);
      });
  }

  document.addEventListener("visibilitychange", function () { if (!document.hidden) { again(true); } });

  // --- actions -------------------------------------------------------------------------------------------------------

  function cookie(name) {
    var match = document.cookie.match("(^|;)\\s*" + name + "\\s*=\\s*([^;]+)");
    return match ? decodeURIComponent(match.pop()) : "";
  }

  // JSON that somebody has written is sent as it was written. JavaScript reads all numbers as floats: written again,
  // 9007199254740993 would be another number, and 10.0 an integer.
  function Verbatim(text) { this.text = text; }

  function body_text(members) {
    return "{" + Object.keys(members).map(function (name) {
      var value = members[name];
      return JSON.stringify(name) + ":" + (value instanceof Verbatim ? value.text : JSON.stringify(value));
    }).join(",") + "}";
  }

  function send(path, body) {
    return fetch(api + path, {
      method: "POST", credentials: "same-origin", redirect: "error", body: body_text(body || {}),
      headers: { "Content-Type": "application/json", "X-XSRFToken": cookie("_xsrf") }
    }).then(function (reply) {
      return reply.json().catch(function () { return {}; }).then(function (value) {
        if (!reply.ok) { throw new Error(value.error ? value.error.message : "HTTP " + reply.status); }
        return value;
      });
    });
  }

  function toast(text, kind) {
    var place = document.getElementById("toast-container");
    if (!place || !window.bootstrap) {
      if (kind === "danger") { window.alert(text); }
      return;
    }
    var box = document.createElement("div");
    box.className = "toast align-items-center border-0 text-bg-" + kind;
    box.setAttribute("role", kind === "danger" ? "alert" : "status");
    var body = document.createElement("div");
    body.className = "toast-body";
    body.textContent = text;
    box.appendChild(body);
    place.appendChild(box);
    box.addEventListener("hidden.bs.toast", function () { box.remove(); });
    window.bootstrap.Toast.getOrCreateInstance(box, { delay: kind === "danger" ? 10000 : 4000 }).show();
  }

  function values(form) {
    var found = {};
    Array.from(form.elements).forEach(function (field) {
      if (!field.name) { return; }
      if (field.type === "checkbox") { found[field.name] = field.checked; return; }
      var text = field.value;
      if (field.dataset.json) {
        var seen;  // to check it, no more: what is sent is the text
        try { seen = JSON.parse(text); } catch (error) { throw new Error("not valid JSON: " + error.message); }
        if (field.dataset.json === "array" && !Array.isArray(seen)) { throw new Error("a JSON array is expected"); }
        if (/[\ud800-\udfff]/u.test(text)) { throw new Error("it has half a character, which cannot be sent"); }
        found[field.name] = new Verbatim(text);
      } else if (field.type === "number") {
        if (text !== "") { found[field.name] = Number(text); }
      } else if (text !== "") {
        found[field.name] = text;
      }
    });
    return found;
  }

  function problem(form, text) {
    var line = form.querySelector(".wf-problem");
    line.textContent = text;
    line.hidden = !text;
  }

  function run_path(verb) {
    var run = document.getElementById("wf-run");
    var query = "?run=" + encodeURIComponent(run.dataset.run) + "&namespace=" + encodeURIComponent(run.dataset.namespace);
    return "/runs/" + encodeURIComponent(run.dataset.id) + "/" + verb + query;
  }

  var DONE = {
    signal: "Signal sent", cancel: "Asked to end", terminate: "Terminated", retry: "It tries again", pause: "Paused",
    resume: "Resumed", reset: "Reset: a new run has taken its place", trigger: "Triggered", start: "Started",
    stop: "Stopped", restart: "Restarted"
  };

  function go_to(workflow_id, run_id, namespace) {
    var base = document.querySelector(".wf-section").getAttribute("href");
    window.location.assign(base + "/run?id=" + encodeURIComponent(workflow_id) + "&run=" + encodeURIComponent(run_id) +
      (namespace ? "&namespace=" + encodeURIComponent(namespace) : ""));
  }

  function done(verb, answer) {
    toast(DONE[verb] || "Done", "success");
    if (verb === "reset") { go_to(answer.workflow_id, answer.run_id, answer.namespace); return; }
    again(true);
  }

  document.addEventListener("click", function (event) {
    var button = event.target.closest("[data-dialog], [data-close], button[data-act]");
    if (!button) { return; }
    if (button.dataset.dialog) {
      var dialog = document.getElementById(button.dataset.dialog);
      dialog.querySelector("form").reset();
      problem(dialog, "");
      dialog.showModal();
    } else if (button.hasAttribute("data-close")) {
      button.closest("dialog").close();
    } else {
      var verb = button.dataset.act;
      button.disabled = true;
      send(button.dataset.path || run_path(verb), {})
        .then(function (answer) { done(verb, answer); })
        .catch(function (error) { toast(error.message, "danger"); })
        .finally(function () { button.disabled = false; });
    }
  });

  document.addEventListener("submit", function (event) {
    var form = event.target;
    if (form.matches("#wf-start-form")) {  // its own id is hidden by its field of that name
      event.preventDefault();
      perform(form, "", function (answer) { go_to(answer.workflow_id, answer.run_id, answer.namespace); });
    } else if (form.dataset.act) {
      event.preventDefault();
      var verb = form.dataset.act;
      perform(form, run_path(verb), function (answer) { form.closest("dialog").close(); done(verb, answer); });
    }
  });

  // Many parked runs, a few at a time: the server is asked again and again at the rate that was chosen.
  var release = document.getElementById("wf-release");
  var is_stopped = false;

  function release_all() {
    var given = values(release);
    var progress = release.querySelector(".wf-progress");
    var stop = document.getElementById("wf-release-stop");
    var button = release.querySelector("button[type=submit]");
    var rate = Math.min(Math.max(given.rate || 1, 1), 100);
    var released = 0, failed = 0, cursor = "";
    is_stopped = false;
    button.disabled = true;
    stop.hidden = progress.hidden = false;
    problem(release, "");

    function tell_progress(text) {
      progress.textContent = text + released + " of them retried" + (failed ? ", " + failed + " could not be" : "");
    }

    function finish(text) {
      button.disabled = false;
      stop.hidden = true;
      tell_progress(text);
      again(true);
    }

    function step() {
      if (is_stopped) { finish("Stopped: "); return; }
      var began = Date.now();
      var body = { limit: Math.ceil(rate), cursor: cursor };
      if (given.kind) { body.kind = given.kind; }
      if (given.where) { body.where = given.where; }
      send("/release", body).then(function (answer) {
        released += answer.released.length;
        failed += answer.failed.length;
        cursor = answer.cursor;
        tell_progress("");
        if (!cursor) { finish("Done: "); return; }
        var done_now = answer.released.length + answer.failed.length;
        window.setTimeout(step, Math.max(1000 * done_now / rate - (Date.now() - began), 0));
      }).catch(function (error) { problem(release, error.message); finish("Stopped: "); });
    }
    step();
  }

  if (release) {
    document.getElementById("wf-release-stop").addEventListener("click", function () { is_stopped = true; });
    release.addEventListener("submit", function (event) { event.preventDefault(); release_all(); });
  }

  function perform(form, path, then) {
    var button = form.querySelector("button[type=submit]");
    var body;
    problem(form, "");
    try { body = values(form); } catch (error) { problem(form, error.message); return; }
    button.disabled = true;
    send(path, body).then(then)
      .catch(function (error) { problem(form, error.message); })
      .finally(function () { button.disabled = false; });
  }

  window.setInterval(tell, 1000);
  tell();
  again(false);
})();
