/** `node test/sim/oss/main.ts --port 9000 --bucket b --json`: a simulated OSS in a process of its own. */
import { runObjectSim } from '../objects/program.ts';
import { startOssSim } from './sim.ts';

await runObjectSim('oss', startOssSim);
