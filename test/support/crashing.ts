// Ports that kill their process: the k-th call of any of them throws, before or after its effect, and all later ones too.

/** Thrown in place of dying. */
export class Killed extends Error {}

export interface Assassin {
  /** the same object, its async methods counted */
  watch<T extends object>(port: T, methods: readonly (keyof T & string)[]): T;
  /** calls and returns seen so far: each is a moment to die at */
  moments(): number;
  /** where it struck, null when it did not */
  struck(): string | null;
}

/** @param at number of the moment to die at; beyond the last one: never */
export function assassin(at: number): Assassin {
  let moments = 0;
  let struck: string | null = null;
  const moment = (where: string): void => {
    if (struck !== null) throw new Killed(struck);
    if (moments++ === at) {
      struck = where;
      throw new Killed(where);
    }
  };
  return {
    moments: () => moments,
    struck: () => struck,
    watch(port, methods) {
      const watched = Object.create(port) as Record<string, unknown>;
      for (const method of methods) {
        const real = port[method] as (...args: unknown[]) => Promise<unknown>;
        watched[method] = async (...args: unknown[]) => {
          moment(`before ${method}`);
          const result = await real.apply(port, args);
          moment(`after ${method}`);
          return result;
        };
      }
      return watched as typeof port;
    },
  };
}
