/** The tag that every disk and snapshot of a cluster has, in every cloud: what has it is the cluster's to change. */
export const CLUSTER_TAG = 'drayage:cluster';
