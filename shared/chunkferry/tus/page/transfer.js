// One file on its way from this browser: what tus-js-client does, and what became of it since.
// Knows no element; whoever shows it is called after each change.

import { ENDED } from "./wording.js";
import { address, credentials } from "./session.js";

/** Together two minutes and more: a server that is restarted is waited for. */
const RETRY_DELAYS = [0, 1000, 3000, 5000, 10_000, 20_000, 30_000, 60_000];
/** What is worth another try, beside answers that never came. */
const PASSING = [409, 423, 429];

/**
 * How a transfer stands. `waiting`, `sending`, `paused`, `interrupted` (the file must be chosen
 * again), `broken` (gave up; can be resumed), `sent` (all received), or how the upload ended:
 * `complete`, `failed`, `cancelled`, `expired`, `gone`.
 */
export class Transfer {
  constructor({ file = null, entry = null, onChange }) {
    this.file = file;
    this.entry = entry; // what the URL storage remembers, if it does
    this.name = file?.name ?? entry.metadata?.filename ?? "a file";
    this.size = file?.size ?? entry.size;
    this.url = entry?.uploadUrl ?? "";
    this.phase = file ? "waiting" : "interrupted";
    this.error = "";
    this.received = 0;
    this.stored = 0;
    this.onChange = onChange;
    this.client = null;
  }

  /** The upload's id at the server; empty as long as it has none. */
  get id() {
    return this.url ? decodeURIComponent(new URL(this.url).pathname.split("/").pop()) : "";
  }

  get isOver() {
    return ["gone", ...ENDED].includes(this.phase);
  }

  get canPause() {
    return ["waiting", "sending"].includes(this.phase);
  }

  get canResume() {
    return this.file !== null && ["paused", "broken"].includes(this.phase);
  }

  get canCancel() {
    return !this.isOver;
  }

  /** Whether a file is the one this began with; `key` is the client's fingerprint of it. */
  isOf(key) {
    return Boolean(this.entry?.urlStorageKey.startsWith(`tus::${key}::`));
  }

  /** Go on with this file, which the user has chosen again. */
  adopt(file) {
    this.file = file;
    this.set("waiting");
  }

  async start() {
    this.set("sending");
    if (!this.client) {
      this.client = this.make();
      // Another upload of the same file that is being sent just now is not ours to go on with.
      const previous = this.entry ? await this.client.findPreviousUploads() : [];
      const known = previous.find((one) => one.uploadUrl === this.url);
      if (known) this.client.resumeFromPreviousUpload(known);
    }
    if (this.phase === "sending") this.client.start();
  }

  pause() {
    this.client?.abort();
    this.set("paused");
  }

  /** Have the upload removed; the server's list tells how that ends. */
  async cancel() {
    this.client?.abort();
    const url = this.client?.url ?? this.url;
    if (url) await this.terminate(url);
    this.end("cancelled");
  }

  async terminate(url) {
    try {
      await tus.Upload.terminate(url, { ...this.options(), retryDelays: [0, 1000, 3000] });
    } catch (error) {
      // What is not there is removed.
      if (![404, 410].includes(statusOf(error))) throw error;
    }
  }

  /** Take over what the server's list says of the upload. */
  tell(upload) {
    this.stored = upload.stored;
    if (this.phase !== "sending") this.received = upload.received;
    const hasAll = upload.length !== null && upload.received === upload.length;
    if (ENDED.includes(upload.state)) this.end(upload.state);
    else if (upload.state === "failed") this.fail(upload.error);
    else if (upload.state === "aborting") this.set("cancelled");
    else if (hasAll) this.sent();
    else if (this.phase === "failed") this.set(this.file ? "paused" : "interrupted");
    // Old news, mostly; or the server lost its newest bytes in a crash. The client asks.
    else if (this.phase === "sent" && this.file) this.client.start();
    else this.onChange(this);
  }

  /** The server does not know the upload any more. */
  lose() {
    this.end("gone");
  }

  options() {
    return {
      endpoint: address("files"),
      retryDelays: RETRY_DELAYS,
      onBeforeRequest: (request) => {
        for (const [name, value] of Object.entries(credentials())) request.setHeader(name, value);
      },
      // tus-js-client takes any error of a HEAD for the end of the upload, and begins another.
      onAfterResponse: (request, response) => {
        const status = response.getStatus();
        const isLost = [404, 410].includes(status);
        if (request.getMethod() === "HEAD" && status >= 400 && !isLost) throw new Passing(status);
      },
      onShouldRetry: (error) => {
        const status = statusOf(error);
        return status === 0 || status >= 500 || PASSING.includes(status);
      },
    };
  }

  make() {
    const { name, type } = this.file;
    return new tus.Upload(this.file, {
      ...this.options(),
      metadata: { filename: name, ...(type && { filetype: type }) },
      onUploadUrlAvailable: () => {
        this.url = this.client.url;
        this.onChange(this);
      },
      onProgress: (sent) => {
        this.received = sent;
        if (this.phase === "sent" && sent < this.size) this.set("sending");
        else this.onChange(this);
      },
      // The entry stays until the object is complete: until then the bytes may be asked for again.
      onSuccess: () => {
        this.url = this.client.url;
        this.sent();
      },
      onError: (error) => this.break(error),
    });
  }

  sent() {
    this.received = this.size;
    if (!this.isOver && this.phase !== "sent") this.set("sent");
    else this.onChange(this);
  }

  fail(why) {
    this.client?.abort();
    this.error = why;
    this.set("failed");
  }

  break(error) {
    const status = statusOf(error);
    const body = error.originalResponse?.getBody() ?? "";
    this.error = status ? explained(status, body) : "the server cannot be reached";
    this.set("broken");
  }

  end(phase) {
    if (this.isOver) return;
    this.client?.abort();
    if (phase === "complete") this.stored = this.received = this.size;
    this.set(phase);
    this.forget();
  }

  /** Take it out of the storage that outlives the page. */
  async forget() {
    const storage = tus.defaultOptions.urlStorage;
    const entries = await storage.findAllUploads();
    const ours = entries.filter((entry) => entry.uploadUrl === this.url);
    await Promise.all(ours.map((entry) => storage.removeUpload(entry.urlStorageKey)));
  }

  set(phase) {
    this.phase = phase;
    this.onChange(this);
  }
}

/** An answer to HEAD that says nothing about the upload. */
class Passing extends Error {
  constructor(status) {
    super(`the server answered ${status}`);
    this.status = status;
  }
}

function statusOf(error) {
  return error.originalResponse?.getStatus() ?? error.causingError?.status ?? 0;
}

function explained(status, body) {
  if (status === 401) return "this needs a valid access token";
  try {
    const problem = JSON.parse(body);
    return String(problem.detail ?? problem.message ?? problem.title);
  } catch {
    return body.length && body.length < 300 ? body : `the server answered ${status}`;
  }
}
