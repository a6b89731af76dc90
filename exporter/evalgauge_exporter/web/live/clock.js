// The exporter's time: what is "3 min ago" must not depend on this machine's clock being right.
//
// A frame says when it was made, and it was made before it came. So the least that this machine's clock was ever ahead of
// a frame's time is how far it is ahead of the exporter's, up to the time that the quickest frame was under way.

const KEPT = 20; // so many frames are looked at, so that a clock that is set anew is believed after a while

export class Clock {
  constructor() {
    this.running = true;
    this.receivedAt = 0;
    this.generatedAt = 0;
    this.leads = [];
  }

  /** A frame came that was made at `generatedAt` (Unix seconds). */
  received(generatedAt) {
    this.receivedAt = Date.now() / 1000;
    this.generatedAt = generatedAt;
    this.leads.push(this.receivedAt - generatedAt);
    if (this.leads.length > KEPT) this.leads.shift();
  }

  /** Unix seconds, as the exporter would say. */
  now() {
    return Date.now() / 1000 - (this.leads.length > 0 ? Math.min(...this.leads) : 0);
  }

  /** Seconds since a frame came. */
  age() {
    return Math.max(0, Date.now() / 1000 - this.receivedAt);
  }

  /** Seconds by which what was true in the frame has gone on since; once nobody knows whether it has, it stands still. */
  sinceFrame() {
    const end = this.running ? this.now() : this.now() - this.age();
    return Math.max(0, end - this.generatedAt);
  }
}
