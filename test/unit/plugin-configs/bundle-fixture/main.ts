// Bundled and run by bundle.test.ts: says what is loaded when.
// express is a package that knows no modules, and requires some of Node's.
import express from 'express';
import { Refusal } from './refusal.ts';

const start = async (): Promise<void> => {
  console.log('started', typeof express());
  try {
    const { refuse } = await import('./later.ts');
    refuse();
  } catch (error) {
    console.log('one class', error instanceof Refusal);
  }
};

void start();
