/** `node test/sim/s3/main.ts --port 9000 --bucket b --json`: a simulated S3 in a process of its own. */
import { runObjectSim } from '../objects/program.ts';
import { startS3Sim } from './sim.ts';

await runObjectSim('s3', startS3Sim);
