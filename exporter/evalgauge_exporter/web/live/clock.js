// The clock of the exporter: "3 min ago" must not depend on the clock of this machine being right.
//
// A frame states when it was built, and it was built before it arrived. So the smallest lead of this machine's clock over
// a frame's time is its lead over the exporter's clock, up to the latency of the fastest frame.

const WINDOW = 20; // frames that are considered, so that a clock that was adjusted is followed after a while

export class Clock {
  constructor() {
    this.running = true;
    this.receivedAt = 0;
    this.generatedAt = 0;
    this.leads = [];
  }

  /** Record the arrival of a frame that was built at `generatedAt` (Unix seconds). */
  received(generatedAt) {
    this.receivedAt = Date.now() / 1000;
    this.generatedAt = generatedAt;
    this.leads.push(this.receivedAt - generatedAt);
    if (this.leads.length > WINDOW) this.leads.shift();
  }

  /** Unix seconds by the clock of the exporter. */
  now() {
    return Date.now() / 1000 - (this.leads.length > 0 ? Math.min(...this.leads) : 0);
  }

  /** Seconds since the last frame arrived. */
  age() {
    return Math.max(0, Date.now() / 1000 - this.receivedAt);
  }

  /** Seconds to add to the elapsed times of the frame; without a connection they stop. */
  sinceFrame() {
    const end = this.running ? this.now() : this.now() - this.age();
    return Math.max(0, end - this.generatedAt);
  }
}
