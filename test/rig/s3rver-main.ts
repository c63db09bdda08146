/**
 * Runs s3rver in a process of its own: `node s3rver-main.ts '{"port": 0, …}'` with its options as JSON; says its port in a line,
 * and ends when standard input does.
 */
import { loadS3rver } from './s3rver.ts';

const { Server } = loadS3rver();
const { port } = await new Server(JSON.parse(process.argv[2] ?? '{}')).run();
process.stdout.write(`${port}\n`);
process.stdin.resume().once('end', () => process.exit(0));
