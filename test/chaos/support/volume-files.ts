/** What a chaos test and the volume plugin tell each other: files in the plugin's folder. */

/** Milliseconds that attaching a disk takes longer. */
export const SLOW_FILE = 'slow-attach';
/** What the plugin is to take for the kernel's boot id. */
export const BOOT_FILE = 'boot-id';
