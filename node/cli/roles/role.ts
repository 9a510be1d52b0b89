// The life of a long-running role: join, serve the control socket, work, end cleanly on Ctrl-C.
// Invariants: whatever was started is stopped in reverse order; a second Ctrl-C ends the process at once; after one, what
// computes is waited for no longer than THREADS_GRACE_MS, everything that keeps state until it is done.

import { rm } from 'node:fs/promises';
import type { RecipeModel } from '../../../recipes/sections.ts';
import { toHex } from '../../protocol/bytes.ts';
import { errorText, isSwarmError } from '../../protocol/errors.ts';
import { type ContinuationRequest, sayContinuation } from '../continuation.ts';
import { type ControlHandler, controlSocketPath, serveControl } from '../control.ts';
import { createReporter, type EmitEvent } from '../events.ts';
import { EXIT_INTERRUPTED, EXIT_OK } from '../exit-codes.ts';
import { participantInspector, type RoleView, saveStatus } from '../inspect-participant.ts';
import { INSPECT_METHODS, type InspectMethod } from '../inspector.ts';
import { endBySignal } from '../interrupt.ts';
import type { NetworkOptions } from '../options.ts';
import { createParticipant, type Participant } from '../participant.ts';
import { completeToBytes, readRecipeSource } from '../recipe-source.ts';
import { createLogger, systemClock } from '../system.ts';

export interface RoleContext {
  readonly participant: Participant;
  readonly emit: EmitEvent;
  /** aborts when the role is to end */
  readonly signal: AbortSignal;
  /** called in reverse order at the end */
  onStop(step: () => Promise<void> | void): void;
  /** What computes and keeps nothing is ending: waited for when all else has stopped, after Ctrl-C not for long. Its failure is the role's. */
  waitLast(ended: Promise<void>): void;
  /** ends the role as if it had been asked to */
  finish(): void;
  /** ends the role with an error */
  fail(error: unknown): void;
}

export interface Role {
  readonly view: RoleView;
}

const STATUS_EVERY_MS = 5_000;
/** A thread leaves when the graph that it runs has ended: tens of seconds of a large model's training. */
const THREADS_GRACE_MS = 2_000;

/** Runs a role until it is interrupted or finishes by itself. @returns the exit code */
export async function runRole(
  options: NetworkOptions,
  start: (context: RoleContext) => Promise<Role>,
): Promise<number> {
  const emit = createReporter(options.json, process.stdout);
  const logger = createLogger(options.logLevel);
  const ending = new AbortController();
  let interruptedBy: NodeJS.Signals | null = null;
  let failure: { readonly error: unknown } | null = null;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (interruptedBy !== null) endBySignal(signal);
    interruptedBy = signal;
    ending.abort();
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  // Whoever reads us is gone (a killed demo, a closed pipe): nobody would ever stop us.
  process.stdout.on('error', () => ending.abort());
  const stops: (() => Promise<void> | void)[] = [];
  const threads: Promise<void>[] = [];
  const participant = await createParticipant({ emit, logger }, options);
  const starting = Promise.withResolvers<Role>();
  const fail = (error: unknown): void => {
    // What the end itself cut short is no failure.
    if (ending.signal.aborted && isSwarmError(error, 'INTERRUPTED')) return;
    failure ??= { error };
    ending.abort();
  };
  const throwFailure = (): void => {
    if (failure !== null) throw failure.error;
  };
  try {
    const control = await serveControl(options.dataDir, controlHandlers(participant, starting.promise));
    stops.push(() => control.close());
    // Whoever hears this may ask through the control socket.
    emit({
      event: 'listening',
      peerId: participant.keyPair.peerIdString,
      network: options.network,
      addresses: participant.host.addresses(),
      dataDir: options.dataDir,
    });
    const role = await start({
      participant,
      emit,
      signal: ending.signal,
      onStop: (step) => void stops.push(step),
      waitLast: (ended) => void threads.push(ended.catch(fail)),
      finish: () => ending.abort(),
      fail,
    });
    starting.resolve(role);
    while (!ending.signal.aborted) {
      await saveStatus(participant, role.view).catch((error: unknown) =>
        logger.warn({ error: errorText(error) }, 'status not saved'),
      );
      await systemClock.sleep(STATUS_EVERY_MS, ending.signal);
    }
    // What the role had reached when all of its work was done.
    while (stops.length > 0) await stops.pop()?.();
    await saveStatus(participant, role.view);
  } finally {
    while (stops.length > 0) await stops.pop()?.();
    await participant.stop();
    await rm(controlSocketPath(options.dataDir), { force: true });
  }
  throwFailure();
  emit({ event: 'stopped' });
  const ended = Promise.all(threads).then(() => true);
  if (interruptedBy === null) await ended;
  else if (!(await Promise.race([ended, systemClock.sleep(THREADS_GRACE_MS).then(() => false)]))) {
    endBySignal(interruptedBy);
    return EXIT_INTERRUPTED;
  }
  throwFailure();
  return EXIT_OK;
}

/** Ends what computes and keeps nothing: waited for, its memory is free for what comes next; at the role's end it comes last. */
export async function endThread({ signal, waitLast }: RoleContext, close: () => Promise<void>): Promise<void> {
  if (signal.aborted) waitLast(close());
  else await close();
}

/** What the control socket answers; questions about a role wait until it has started. */
function controlHandlers(participant: Participant, starting: Promise<Role>): Readonly<Record<string, ControlHandler>> {
  const inspector = starting.then(({ view }) => participantInspector(participant, view));
  // A role that fails to start ends the process, and the questions with it.
  inspector.catch(() => undefined);
  const ask =
    (method: InspectMethod): ControlHandler =>
    async (params) =>
      (await inspector)[method](params);
  return {
    ...Object.fromEntries(INSPECT_METHODS.map((method) => [method, ask(method)])),
    identity: async () => ({ publicKey: toHex(participant.keyPair.publicKey) }),
    submit: submitHandler(participant),
    continue: async (params) =>
      sayContinuation(
        { ...participant, clock: systemClock, ownKey: toHex(participant.keyPair.publicKey) },
        params as unknown as ContinuationRequest,
      ),
  };
}

/** `murmur submit` beside a running node: signed with the node's key. */
function submitHandler(participant: Participant): ControlHandler {
  return async (params) => {
    const { recipe, trainers, verifiers, model } = params as {
      readonly recipe: string;
      readonly trainers: readonly string[];
      readonly verifiers: readonly string[];
      readonly model: RecipeModel;
    };
    const author = toHex(participant.keyPair.publicKey);
    const bytes = completeToBytes(await readRecipeSource(recipe), { author, trainers, verifiers, model });
    const known = await participant.book.submit(bytes);
    return { recipeId: known.resolved.recipeIdHex, name: known.resolved.recipe.name, author };
  };
}
