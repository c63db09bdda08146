// @timeout 4m
// The volume driver on engine 20: see volume/matrix.ts.
import { matrix } from './volume/matrix.ts';

matrix('20');
