// The table of all uploads. Rows are changed in place, so that no focus is lost.

import { CANCELLABLE, ENDED, share, size, span, state } from "./wording.js";

export class Listing {
  constructor({ section, onFilter, onCancel, onRequeue }) {
    this.section = section;
    this.body = section.querySelector("tbody");
    this.onCancel = onCancel;
    this.onRequeue = onRequeue;
    this.rows = new Map();
    this.uploads = new Map();
    this.isAdmin = false;
    this.hasMore = false;
    this.ahead = 0; // of our clock, the server's, in seconds
    this.filter = section.querySelector("#state");
    this.filter.addEventListener("change", () => {
      this.arrange();
      // What is older than the newest is looked up once.
      if (this.hasMore && isState(this.filter.value)) onFilter(this.filter.value);
    });
    setInterval(() => this.age(), 1000);
  }

  /** Show these uploads, and no others. */
  replace({ uploads, is_admin, has_more, now }) {
    this.isAdmin = is_admin;
    this.hasMore = has_more;
    this.ahead = Date.parse(now) / 1000 - Date.now() / 1000;
    this.uploads = new Map(uploads.map((upload) => [upload.id, upload]));
    const more = this.section.querySelector("#more");
    more.hidden = !has_more;
    more.textContent = `These are the newest ${uploads.length}; there are more.`;
    this.arrange();
  }

  /** Show these as well. */
  add(uploads) {
    this.change({ changed: uploads.filter((one) => !this.uploads.has(one.id)), gone: [] });
  }

  /** Take in what has changed. */
  change({ changed, gone }) {
    for (const id of gone) this.uploads.delete(id);
    for (const upload of changed) this.uploads.set(upload.id, upload);
    this.arrange();
  }

  /** Make the table show what it should: the newest first. */
  arrange() {
    const wanted = [...this.uploads.values()].filter((upload) => this.isWanted(upload));
    wanted.sort((a, b) => Date.parse(b.created_at) - Date.parse(a.created_at));
    const ids = new Set(wanted.map((upload) => upload.id));
    for (const [id, row] of this.rows) {
      if (ids.has(id)) continue;
      if (row.element.contains(document.activeElement)) this.focus();
      row.element.remove();
      this.rows.delete(id);
    }
    wanted.forEach((upload, index) => {
      const { element } = this.row(upload);
      // Moving a row takes the focus off it; most are where they belong.
      if (this.body.children[index] !== element) {
        this.body.insertBefore(element, this.body.children[index] ?? null);
      }
    });
    const none = this.section.querySelector("#none");
    none.hidden = wanted.length > 0;
    none.textContent = this.uploads.size ? "None of these." : "No uploads yet.";
    this.section.querySelector("#uploads").hidden = wanted.length === 0;
    this.age();
  }

  isWanted(upload) {
    switch (this.filter.value) {
      case "":
        return true;
      case "open":
        return !ENDED.includes(upload.state);
      default:
        return upload.state === this.filter.value;
    }
  }

  /** The row of an upload, up to date. */
  row(upload) {
    let row = this.rows.get(upload.id);
    if (!row) {
      row = this.make(upload.id);
      this.rows.set(upload.id, row);
    }
    if (row.shown !== upload) this.fill(row, upload);
    row.shown = upload;
    return row;
  }

  make(id) {
    const element = document.getElementById("upload").content.firstElementChild.cloneNode(true);
    const find = (name) => element.querySelector(`.${name}`);
    find("cancel").addEventListener("click", () => this.onCancel(this.uploads.get(id)));
    find("requeue").addEventListener("click", () => this.onRequeue(this.uploads.get(id)));
    return { element, find, shown: null };
  }

  fill({ element, find }, upload) {
    const name = upload.filename || upload.filepath;
    element.dataset.id = upload.id;
    element.dataset.state = upload.state;
    find("name").textContent = name;
    find("path").textContent = `${upload.service}: ${upload.filepath}`;
    find("badge").textContent = state(upload.state);
    find("error").textContent = upload.error;
    find("error").title = upload.error_code;
    find("size").textContent = size(upload.length);
    find("worker").textContent = upload.holder || "–";
    const whole = upload.length;
    for (const part of ["received", "stored"]) {
      find(part).max = Math.max(1, whole ?? upload.received);
      find(part).value = whole === 0 ? 1 : upload[part];
    }
    find("shares").textContent = `${share(upload.received, whole)}, ${share(upload.stored, whole)}`;
    this.offer(find, upload, name);
  }

  offer(find, upload, name) {
    const may = {
      cancel: CANCELLABLE.includes(upload.state),
      requeue: this.isAdmin && upload.state === "failed",
    };
    for (const [action, isOffered] of Object.entries(may)) {
      const button = find(action);
      if (!isOffered && button === document.activeElement) this.focus();
      button.hidden = !isOffered;
      button.setAttribute("aria-label", `${action === "cancel" ? "Cancel" : "Requeue"} ${name}`);
    }
  }

  /** Where the focus goes when what had it is gone. */
  focus() {
    this.section.querySelector("#listing-title").focus();
  }

  age() {
    const now = Date.now() / 1000 + this.ahead;
    for (const { find, shown } of this.rows.values()) {
      const time = find("age");
      time.dateTime = shown.created_at;
      time.title = new Date(shown.created_at).toLocaleString();
      const text = span(now - Date.parse(shown.created_at) / 1000);
      if (time.textContent !== text) time.textContent = text;
    }
  }
}

const isState = (name) => Boolean(name) && name !== "open";
