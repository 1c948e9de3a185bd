// The list of uploads, kept up to date: server-sent events, read with fetch because an EventSource
// cannot send a token. Knows no element.

import { Refused, Unauthorized, ask } from "./session.js";

const PATH = "api/uploads/events";
/** Longest pause before another try, in milliseconds. */
const LONGEST = 10_000;
/** The server says something every 10 s: a silence of this many milliseconds is a dead line. */
const SILENCE = 30_000;

/** The server is there, and cannot tell how the uploads are doing. */
export class Trouble extends Error {}

/**
 * Follow the uploads until `stop` is called.
 *
 * Tells `onUploads(whole)`, `onChanges(changes)`, `onTrouble(error)`; ends after `Unauthorized`.
 */
export class News {
  constructor(told) {
    this.told = told;
    this.controller = null;
  }

  async follow() {
    this.stop();
    const controller = new AbortController();
    this.controller = controller;
    let pause = 500;
    while (!controller.signal.aborted) {
      try {
        await this.read(controller.signal, () => {
          pause = 500;
        });
      } catch (error) {
        if (controller.signal.aborted) return;
        this.told.onTrouble(error);
        if (error instanceof Unauthorized) return;
        if (error instanceof Refused && error.status === 403) return;
      }
      await new Promise((done) => setTimeout(done, pause));
      pause = Math.min(pause * 2, LONGEST);
    }
  }

  stop() {
    this.controller?.abort();
  }

  async read(signal, onAnswer) {
    // A line that died silently is given up by ourselves.
    const quiet = new AbortController();
    let timer = setTimeout(() => quiet.abort(), SILENCE);
    try {
      const answer = await ask(PATH, {
        signal: AbortSignal.any([signal, quiet.signal]),
        headers: { Accept: "text/event-stream" },
      });
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        onAnswer();
        clearTimeout(timer);
        timer = setTimeout(() => quiet.abort(), SILENCE);
        const blocks = (text + value).split("\n\n");
        text = blocks.pop();
        blocks.forEach((block) => this.tell(block));
      }
    } finally {
      clearTimeout(timer);
    }
  }

  tell(block) {
    const field = (name) =>
      block
        .split("\n")
        .filter((line) => line.startsWith(`${name}:`))
        .map((line) => line.slice(name.length + 1).trimStart())
        .join("\n");
    const data = field("data");
    if (!data) return;
    if (field("event") === "uploads") this.told.onUploads(JSON.parse(data));
    if (field("event") === "changes") this.told.onChanges(JSON.parse(data));
    if (field("event") === "trouble") this.told.onTrouble(new Trouble(JSON.parse(data).code));
  }
}
