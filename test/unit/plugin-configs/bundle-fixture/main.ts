// Bundled and run by bundle.test.ts: says what is loaded when.
import { hostname } from 'node:os';
import old from './old.cjs';
import { Refusal } from './refusal.ts';

const start = async (): Promise<void> => {
  console.log('started', hostname() === old.hostname());
  try {
    const { refuse } = await import('./later.ts');
    refuse();
  } catch (error) {
    console.log('one class', error instanceof Refusal);
  }
};

void start();
