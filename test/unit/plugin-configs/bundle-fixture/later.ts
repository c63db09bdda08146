import { Refusal } from './refusal.ts';

console.log('loaded');

export const refuse = (): never => {
  throw new Refusal('no');
};
