// Runs tasks in the order in which they come, a number of them at a time.

export class Queue {
  #free;
  #waiting = [];

  constructor(places) {
    this.#free = places;
  }

  /** The task's result. */
  async run(task) {
    if (this.#free === 0) await new Promise((begin) => this.#waiting.push(begin));
    else this.#free -= 1;
    try {
      return await task();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free += 1;
    }
  }
}
