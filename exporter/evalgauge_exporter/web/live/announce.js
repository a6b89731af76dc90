// What screen readers are told: news of the run at most every 30 s, changes of state at once.

import { text } from "./dom.js";

const QUIET_MS = 30_000;

export class Announcer {
  constructor(node) {
    this.node = node;
    this.waiting = null;
    this.timer = null;
    this.spokenAt = performance.now();
  }

  /** Something to say when it is time; the newest offer wins. */
  offer(message) {
    this.waiting = message;
    if (this.timer !== null) return;
    const wait = Math.max(0, this.spokenAt + QUIET_MS - performance.now());
    this.timer = setTimeout(() => {
      this.timer = null;
      if (this.waiting !== null) this.say(this.waiting);
    }, wait);
  }

  /** Something to say now. */
  say(message) {
    this.waiting = null;
    this.spokenAt = performance.now();
    text(this.node, message);
  }
}
