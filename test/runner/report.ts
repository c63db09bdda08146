import { digest } from './digest.ts';
import { type Case, indent } from './outcome.ts';
import type { FileResult } from './run-file.ts';
import { skipIsExcused } from './skips.ts';

/** Prints results as they come and keeps the count. */
export class Report {
  readonly #print: (line: string) => void;
  readonly #strictSkips: boolean;
  readonly #files: FileResult[] = [];
  readonly #skips: string[] = [];
  readonly #started = new Date();
  #passed = 0;
  #failed = 0;
  #skipped = 0;
  #interrupted = false;

  /** @param strictSkips in CI: a skip whose reason is not one that a machine can be excused for is a failure. */
  constructor(print: (line: string) => void, strictSkips: boolean) {
    this.#print = print;
    this.#strictSkips = strictSkips;
  }

  /** One line for the file, then each failure in full. */
  add(result: FileResult): void {
    if (this.#interrupted) return;
    const cases = result.cases.map((found) => this.#judge(found));
    const failures = cases.filter(({ status }) => status === 'failed');
    const skips = cases.filter(({ status }) => status === 'skipped');
    const passed = cases.length - failures.length - skips.length;
    this.#files.push({ ...result, cases });
    this.#passed += passed;
    this.#failed += failures.length;
    this.#skipped += skips.length;
    const counts = [`${passed} passed`];
    if (failures.length > 0) counts.push(`${failures.length} failed`);
    if (skips.length > 0) counts.push(`${skips.length} skipped`);
    const mark = failures.length > 0 ? 'FAIL' : 'ok  ';
    this.#print(`${mark} ${seconds(result.milliseconds).padStart(7)}  ${result.file}  (${counts.join(', ')})`);
    for (const { path, detail } of failures) {
      this.#print(`  ✗ ${path.join(' › ')}`);
      if (detail !== undefined) this.#print(indent(indent(detail)));
    }
    if (failures.length > 0 && result.output !== '')
      this.#print(`  its last output:\n${indent(indent(result.output))}`);
    if (result.leftProcesses) this.#print('  note: it left processes behind');
    for (const { path, detail } of skips) this.#skips.push(`${result.file} › ${path.join(' › ')}: ${detail}`);
  }

  /** A file that was not started counts as a failure. */
  notRun(file: string, why: string): void {
    const found: Case = { path: ['(the file)'], status: 'failed', detail: `not run: ${why}` };
    this.add({ file, milliseconds: 0, cases: [found], output: '', leftProcesses: false });
  }

  interrupted(signal: string): void {
    this.#print(`interrupted by ${signal}: the tests that were running are being stopped`);
    this.#failed += 1;
    this.#interrupted = true;
  }

  /** Prints skips, the slowest files, what failed in short, and the closing line; true when something ran and nothing failed. */
  close(): boolean {
    if (this.#skips.length > 0) this.#print(`\nSkipped:\n${indent(this.#skips.join('\n'))}`);
    const slow = [...this.#files].sort((a, b) => b.milliseconds - a.milliseconds).slice(0, 8);
    if (slow.length > 1) {
      const lines = slow.map(({ file, milliseconds }) => `${seconds(milliseconds).padStart(8)}  ${file}`);
      this.#print(`\nSlowest files:\n${lines.join('\n')}`);
    }
    const failed = digest(this.#files);
    if (failed.length > 0) this.#print(`\nFailed:\n${indent(failed.join('\n'))}`);
    if (this.#files.length === 0 && !this.#interrupted) this.#print('no test file matches');
    this.#print(`\n${this.#passed} passed, ${this.#failed} failed, ${this.#skipped} skipped`);
    return this.#failed === 0 && this.#passed > 0;
  }

  /** Everything, for `--json`. Times in milliseconds. */
  data(): object {
    return {
      started: this.#started.toISOString(),
      milliseconds: Date.now() - this.#started.getTime(),
      passed: this.#passed,
      failed: this.#failed,
      skipped: this.#skipped,
      files: this.#files.map(({ file, milliseconds, cases }) => ({ file, milliseconds, cases })),
    };
  }

  #judge(found: Case): Case {
    if (found.status !== 'skipped' || !this.#strictSkips || skipIsExcused(found.detail ?? '')) return found;
    return { ...found, status: 'failed', detail: `skipped without an excuse (test/runner/skips.ts): ${found.detail}` };
  }
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}
