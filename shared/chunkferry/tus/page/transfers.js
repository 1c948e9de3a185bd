// The files of this browser: which are sent now, which wait, and the card of each.

import { Transfer } from "./transfer.js";
import { address, credentials } from "./session.js";
import { share, size } from "./wording.js";

/** Sent at one time: browsers keep six connections to a server, and the news need one. */
const AT_ONCE = 3;

const PHASES = {
  waiting: "Waits for its turn",
  sending: "Sending",
  paused: "Paused",
  interrupted: "Interrupted: choose the file again to go on",
  broken: "Stopped",
  sent: "Received; being stored",
  complete: "Complete",
  failed: "Failed",
  cancelled: "Cancelled",
  expired: "Expired",
  gone: "Not known to the server any more",
};
/** Phases that are worth an announcement. */
const TOLD = ["paused", "broken", "sent", "complete", "failed", "cancelled", "expired"];

export class Transfers {
  constructor({ list, input, announce, complain, confirm }) {
    this.list = list;
    this.input = input;
    this.announce = announce;
    this.complain = complain;
    this.confirm = confirm;
    this.cards = new Map();
    this.rechoosing = null;
  }

  get all() {
    return [...this.cards.keys()];
  }

  /** Take in files that were chosen or dropped. */
  async add(files) {
    const wanted = this.rechoosing;
    this.rechoosing = null;
    for (const file of files) {
      const key = await tus.defaultOptions.fingerprint(file, { endpoint: address("files") });
      const waits = this.all.find((one) => one.phase === "interrupted" && one.isOf(key));
      if (waits) waits.adopt(file);
      else if (wanted) this.complain(`${file.name} is not the file that was being sent`);
      else this.show(new Transfer({ file, onChange: (one) => this.changed(one) }));
    }
    this.next();
  }

  /** Show what a reload or a crash has interrupted. */
  async restore() {
    const entries = await tus.defaultOptions.urlStorage.findAllUploads();
    const known = new Set(this.all.map((one) => one.url));
    for (const entry of entries) {
      if (!entry.uploadUrl || known.has(entry.uploadUrl)) continue;
      known.add(entry.uploadUrl);
      this.show(new Transfer({ entry, onChange: (one) => this.changed(one) }));
    }
  }

  /** Take over news of uploads; `whole` is true where these are all that the server lists. */
  tell(uploads, whole) {
    const byId = new Map(uploads.map((upload) => [upload.id, upload]));
    for (const transfer of this.all) {
      const upload = byId.get(transfer.id);
      if (upload) transfer.tell(upload);
      else if (whole && transfer.phase === "interrupted") this.look(transfer);
    }
  }

  /** Ask after an upload that the list does not show. */
  async look(transfer) {
    const headers = { ...credentials(), "Tus-Resumable": "1.0.0" };
    try {
      const answer = await fetch(transfer.url, { method: "HEAD", headers, cache: "no-store" });
      if ([404, 410].includes(answer.status)) transfer.lose();
    } catch {
      // The next news bring another look.
    }
  }

  /** Start what waits, as far as there is room. */
  next() {
    const room = AT_ONCE - this.all.filter((one) => one.phase === "sending").length;
    const waiting = this.all.filter((one) => one.phase === "waiting");
    for (const transfer of waiting.slice(0, Math.max(0, room))) transfer.start();
  }

  /** Resume what stopped because nothing could be reached, or nobody was signed in. */
  retry() {
    for (const transfer of this.all) if (transfer.phase === "broken") transfer.set("waiting");
    this.next();
  }

  show(transfer) {
    const card = document.getElementById("transfer").content.firstElementChild.cloneNode(true);
    const find = (name) => card.querySelector(`.${name}`);
    find("name").textContent = transfer.name;
    find("size").textContent = size(transfer.size);
    for (const name of ["pause", "resume", "choose", "cancel", "remove"]) {
      const button = find(name);
      button.setAttribute("aria-label", `${button.textContent}: ${transfer.name}`);
      button.addEventListener("click", () => this[name](transfer));
    }
    this.cards.set(transfer, { card, find, phase: "" });
    this.list.prepend(card);
    this.changed(transfer);
  }

  pause(transfer) {
    transfer.pause();
    this.next();
  }

  resume(transfer) {
    transfer.set("waiting");
    this.next();
  }

  choose(transfer) {
    this.rechoosing = transfer;
    this.input.click();
  }

  async cancel(transfer) {
    if (!(await this.confirm(transfer.name)) || !transfer.canCancel) return;
    try {
      await transfer.cancel();
    } catch (error) {
      this.complain(`${transfer.name} could not be cancelled: ${error.message}`);
    }
    this.next();
  }

  remove(transfer) {
    const { card } = this.cards.get(transfer);
    const neighbour = card.nextElementSibling ?? card.previousElementSibling;
    card.remove();
    this.cards.delete(transfer);
    (neighbour?.querySelector("button:not([hidden])") ?? this.input).focus();
  }

  changed(transfer) {
    const shown = this.cards.get(transfer);
    if (!shown) return;
    const { card, find, phase } = shown;
    card.dataset.phase = transfer.phase;
    bar(find("received"), transfer.received, transfer.size);
    bar(find("stored"), transfer.stored, transfer.size);
    if (phase === transfer.phase) return;
    shown.phase = transfer.phase;
    const why = ["broken", "failed"].includes(transfer.phase) ? `: ${transfer.error}` : "";
    find("state").textContent = PHASES[transfer.phase] + why;
    this.offer(transfer, find);
    if (TOLD.includes(transfer.phase)) {
      this.announce(`${transfer.name}: ${PHASES[transfer.phase]}${why}`);
    }
    if (phase === "sending") this.next();
  }

  /** Show the buttons that make sense now, and keep the focus on the card. */
  offer(transfer, find) {
    const focused = document.activeElement;
    find("pause").hidden = !transfer.canPause;
    find("resume").hidden = !transfer.canResume;
    find("choose").hidden = transfer.phase !== "interrupted";
    find("cancel").hidden = !transfer.canCancel;
    find("remove").hidden = !transfer.isOver;
    if (focused.hidden && find("actions").contains(focused)) {
      find("actions").querySelector("button:not([hidden])")?.focus();
    }
  }
}

function bar(element, part, whole) {
  element.max = Math.max(1, whole ?? part);
  // Nothing of nothing is all of it.
  element.value = whole === 0 ? 1 : part;
  element.parentElement.nextElementSibling.textContent = share(part, whole);
}
