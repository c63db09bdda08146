/** What a user must see when something is refused: what was wrong, where, and what to do, and nothing else. */
import type { Test } from 'tap';
import type { ErrorCode } from '../../../shared/errors.ts';
import type { Outcome } from '../../rig/command.ts';
import type { CallAnswer } from '../../rig/plugin.ts';

/** Asserts that `text` is a sentence of ours with its fix and its request id, that it has all `words`, and no stack. */
export function isOurSentence(t: Test, text: string, code: ErrorCode, words: readonly string[], about: string): void {
  t.match(text, new RegExp(`\\b${code}: [^\\n]+[.?] [A-Z][^\\n]+\\. \\[req [0-9a-z-]+\\]`), `${about}: ${text.trim()}`);
  for (const word of words) t.ok(text.includes(word), `${about}: names ${word}`);
  t.notMatch(
    text,
    /\n\s+at |\/usr\/lib\/drayage|node:internal|\bundefined\b|\[object/,
    `${about}: no stack, no internals`,
  );
}

/** Asserts that a `docker` command failed in these terms. */
export function refused(t: Test, outcome: Outcome, code: ErrorCode, ...words: readonly string[]): void {
  t.not(outcome.code, 0, `the command fails${outcome.code === 0 ? `, but answered ${outcome.stdout.trim()}` : ''}`);
  isOurSentence(t, outcome.stderr, code, words, 'the terminal');
}

/** The text of the error in a plugin's answer; '' when it is not an error. */
export function errorText(answer: CallAnswer): string {
  const { body } = answer;
  return typeof body === 'object' && body !== null && 'Err' in body && typeof body.Err === 'string' ? body.Err : '';
}
