// Announcements for screen readers: progress of the run at most every 30 s, changes of state at once.

import { setText } from "./dom.js";

const QUIET_MS = 30_000;

export class Announcer {
  constructor(node) {
    this.node = node;
    this.waiting = null;
    this.timer = null;
    this.spokenAt = performance.now();
  }

  /** Announce a message when the quiet period has passed; a newer one replaces it. */
  offer(message) {
    this.waiting = message;
    if (this.timer !== null) return;
    const wait = Math.max(0, this.spokenAt + QUIET_MS - performance.now());
    this.timer = setTimeout(() => {
      this.timer = null;
      if (this.waiting !== null) this.say(this.waiting);
    }, wait);
  }

  /** Announce a message now. */
  say(message) {
    this.waiting = null;
    this.spokenAt = performance.now();
    setText(this.node, message);
  }
}
