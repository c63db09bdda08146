import { runProgram } from './program.ts';

// One CommonJS file is what ships, and it cannot wait at its top level.
void runProgram({ env: process.env });
