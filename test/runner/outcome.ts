import { Parser, type Result } from 'tap-parser';

/** How one test case (a `t.test` without tests inside it) ended. */
export interface Case {
  /** The names from the outermost test inward. */
  readonly path: readonly string[];
  readonly status: 'passed' | 'failed' | 'skipped';
  readonly milliseconds?: number;
  /** Why it was skipped, or what failed: assertions with their differences. */
  readonly detail?: string;
}

interface Level {
  readonly path: readonly string[];
  /** A test inside this one whose closing line has not come yet. */
  open?: Level;
  hasTests: boolean;
  hasSkippedTests: boolean;
  readonly failed: string[];
  readonly skipped: string[];
  passed: number;
}

/**
 * Reads a TAP stream and calls `onCase` for each test case as it ends. Assertions outside any `t.test` count as one
 * case named `(top level)`. A case that asserts nothing is a failure: it could not have failed.
 * @returns a stream to write TAP to, and the lines that were not TAP (shared array, grows).
 */
export function readOutcome(onCase: (found: Case) => void): { readonly parser: Parser; readonly extra: string[] } {
  const extra: string[] = [];
  const parser = new Parser();
  const top: Level = newLevel([]);
  const follow = (level: Level, stream: Parser): void => {
    stream.on('child', (child: Parser) => {
      level.open = newLevel([...level.path, child.name]);
      level.hasTests = true;
      follow(level.open, child);
    });
    stream.on('assert', (result: Result) => {
      const inner = level.open;
      if (inner === undefined && typeof result.skip === 'string') {
        // `t.test(name, { skip: reason })` leaves only this line; `t.skip(reason)` within a test has no reason besides its name.
        level.hasSkippedTests = true;
        onCase({ path: [...level.path, result.name], status: 'skipped', detail: result.skip });
        return;
      }
      if (inner === undefined) {
        note(level, result);
        return;
      }
      delete level.open;
      settle(inner, result);
    });
  };
  /** `result` is the line that closes the test in its parent. */
  const settle = (level: Level, result: Result): void => {
    const path = level.path;
    const time = result.time === null ? {} : { milliseconds: result.time };
    if (level.failed.length > 0) {
      onCase({ path, status: 'failed', ...time, detail: level.failed.join('\n') });
    } else if (result.skip !== false) {
      onCase({ path, status: 'skipped', ...time, detail: reason(result) });
    } else if (!result.ok && !level.hasTests) {
      onCase({ path, status: 'failed', ...time, detail: describe(result) });
    } else if (level.skipped.length > 0 && level.passed === 0) {
      onCase({ path, status: 'skipped', ...time, detail: level.skipped.join('; ') });
    } else if (!level.hasTests && !level.hasSkippedTests && level.passed === 0) {
      onCase({ path, status: 'failed', ...time, detail: 'it asserted nothing' });
    } else if (level.passed > 0 && !level.hasTests) {
      onCase({ path, status: 'passed', ...time });
    }
  };
  follow(top, parser);
  parser.on('extra', (text: string) => extra.push(text.trimEnd()));
  parser.on('complete', () => {
    // A test still open here was cut off: tap's own last words, if any, are among the top level's results.
    for (let level = top.open; level !== undefined; level = level.open) {
      if (level.open === undefined) {
        onCase({ path: level.path, status: 'failed', detail: [...level.failed, 'it never ended'].join('\n') });
      }
    }
    if (top.failed.length > 0) {
      onCase({ path: ['(top level)'], status: 'failed', detail: top.failed.join('\n') });
    } else if (top.passed > 0) {
      onCase({ path: ['(top level)'], status: 'passed' });
    }
    for (const why of top.skipped) onCase({ path: ['(top level)'], status: 'skipped', detail: why });
  });
  return { parser, extra };
}

function newLevel(path: readonly string[]): Level {
  return { path, hasTests: false, hasSkippedTests: false, failed: [], skipped: [], passed: 0 };
}

/** Files an assertion under the test that it stands in. */
function note(level: Level, result: Result): void {
  if (result.skip !== false) level.skipped.push(reason(result));
  else if (result.ok || result.todo !== false) level.passed += 1;
  else level.failed.push(describe(result));
}

function reason(result: Result): string {
  return typeof result.skip === 'string' ? result.skip : result.name;
}

/** A failed assertion as text: its name, where, and what differed. tap's diagnosis is plain YAML data. */
function describe(result: Result): string {
  const lines = [result.name || 'a failed assertion'];
  const diagnosis: unknown = result.diag;
  if (typeof diagnosis === 'object' && diagnosis !== null) {
    for (const [key, value] of Object.entries(diagnosis)) {
      // The source is in the editor; the stack repeats `at`.
      if (key === 'source' || (key === 'stack' && 'at' in diagnosis && 'diff' in diagnosis)) continue;
      if (key === 'at') lines.push(`at ${place(value)}`);
      else lines.push(typeof value === 'string' ? `${key}:\n${indent(value.trimEnd())}` : `${key}: ${asText(value)}`);
    }
  }
  return lines.join('\n');
}

function place(at: unknown): string {
  if (typeof at !== 'object' || at === null || !('fileName' in at)) return asText(at);
  return `${at.fileName}:${'lineNumber' in at ? at.lineNumber : '?'}`;
}

function asText(value: unknown): string {
  return JSON.stringify(value) ?? String(value);
}

/** Two spaces before every line. */
export function indent(text: string): string {
  return text.replace(/^/gm, '  ');
}
