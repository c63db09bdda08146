// @timeout 5m
// Volumes in buckets on engine 28: see object/matrix.ts.
import { matrix } from './object/matrix.ts';

matrix('28');
