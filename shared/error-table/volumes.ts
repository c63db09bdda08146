import type { ErrorEntry } from './entry.ts';

/** What can go wrong with volumes and what they are kept on. In alphabetical order. */
export const VOLUME_ERRORS = {
  ATTACH_LIMIT: {
    text: 'Disk {disk} of volume {volume} cannot be attached to this host: {reason}.',
    fix: 'Stop containers that use other volumes here, start this one on another host, or use an instance type that takes more disks.',
    retry: 'after',
  },
  BACKEND_AUTH: {
    text: 'The storage provider {provider} refused the credentials[: {reason}].',
    fix: "Correct the plugin's credentials with docker plugin set, then enable it again.",
    retry: 'after',
  },
  BACKEND_PERMISSION: {
    text: 'The storage provider {provider} lacks the permission {permission}[ ({reason})].',
    fix: "Give this host's role that permission, then repeat the command.",
    retry: 'after',
  },
  BACKEND_REFUSED: {
    text: 'The storage provider {provider} refused {what}[: {reason}].',
    fix: 'Correct what it names, then repeat the command.',
    retry: 'after',
  },
  BACKEND_THROTTLED: {
    text: 'The storage provider {provider} limits the rate of calls[: {reason}].',
    fix: 'Repeat the command in a minute: other users of the same account may be using up the limit.',
    retry: 'backoff',
  },
  BACKEND_UNREACHABLE: {
    text: 'The storage provider {provider} cannot be reached[: {reason}].',
    fix: 'Check that this host can reach it, then repeat the command; volumes in use go on meanwhile.',
    retry: 'backoff',
  },
  BUCKET_CERTIFICATE: {
    text: 'The store of bucket {bucket} cannot be trusted[: {reason}].',
    fix: "Name a file with its authority's certificate by OBJECT_CA or -o ca=, take an endpoint that its certificate is for, or have that renewed.",
    retry: 'after',
  },
  BUCKET_CLOCK: {
    text: 'The store of bucket {bucket} refuses this host because of its clock[: {reason}].',
    fix: "Set this host's clock right (NTP), then repeat the command.",
    retry: 'after',
  },
  BUCKET_CREDENTIALS: {
    text: 'The store of bucket {bucket} refuses the credentials[: {reason}].',
    fix: 'Correct OBJECT_ACCESS_KEY_ID and OBJECT_ACCESS_KEY_SECRET, ACCESS_KEY_ID and ACCESS_KEY_SECRET, CREDENTIALS_FILE or the role of this host, then repeat the command.',
    retry: 'after',
  },
  BUCKET_DENIED: {
    text: 'This host may not {action} in bucket {bucket}[: {reason}].',
    fix: 'Give its role or key that permission; drayage policy aws --plugin volume (or aliyun) prints all that are needed.',
    retry: 'after',
  },
  BUCKET_KEYLESS: {
    text: 'There is no access key for bucket {bucket}: none is set, and this host has no role that can be asked for one[: {reason}].',
    fix: "Set OBJECT_ACCESS_KEY_ID and OBJECT_ACCESS_KEY_SECRET, or CREDENTIALS_FILE, with docker plugin set, or give this host's instance a role.",
    retry: 'backoff',
  },
  BUCKET_MISSING: {
    text: 'The bucket {bucket} does not exist[: {reason}].',
    fix: 'Check its name and the endpoint, or make it.',
    retry: 'after',
  },
  BUCKET_PROXY: {
    text: 'The proxy on the way to bucket {bucket} does not lead there[: {reason}].',
    fix: 'Correct OBJECT_PROXY, OBJECT_PROXY_CREDENTIALS or -o proxy=, name the endpoint in OBJECT_NO_PROXY, or have the proxy let this host through.',
    retry: 'backoff',
  },
  BUCKET_READONLY: {
    text: 'The bucket {bucket} takes no writes[: {reason}].',
    fix: 'Create the volume with -o readonly=true, or lift what keeps the bucket from being written to.',
    retry: 'after',
  },
  BUCKET_REFUSED: {
    text: 'The store of bucket {bucket} refused {what}[: {reason}].',
    fix: 'Correct what it names, then repeat the command.',
    retry: 'after',
  },
  BUCKET_REGION: {
    text: 'The bucket {bucket} is not in the region that was asked[, but in {region}][: {reason}].',
    fix: 'Say where it is with -o region=[{region}] or the setting REGION, or take an endpoint of that region.',
    retry: 'after',
  },
  BUCKET_THROTTLED: {
    text: 'The store of bucket {bucket} limits the rate of requests[: {reason}].',
    fix: 'Repeat the command in a moment: others may be using up the limit.',
    retry: 'backoff',
  },
  BUCKET_UNREACHABLE: {
    text: 'The store of bucket {bucket} cannot be reached[ at {endpoint}][: {reason}].',
    fix: 'Check the endpoint, and that this host can reach it; volumes in use go on when it answers again.',
    retry: 'backoff',
  },
  DISK_FAILED: {
    text: 'Disk {disk} of volume {volume} is {state}[: {reason}].',
    fix: 'Look at the disk where it is kept; nothing was written to it.',
    retry: 'after',
  },
  DISK_MISSING: {
    text: 'Disk {disk} of volume {volume} does not exist any more.',
    fix: 'Bring the disk back, or remove the volume with docker volume rm {volume}.',
    retry: 'after',
  },
  DISK_QUOTA: {
    text: 'There is no room for a disk of {size} bytes for volume {volume}[: {limit} bytes are {what}][: {reason}].',
    fix: 'Ask for less with -o size=, remove volumes or snapshots that nothing needs, or make more room; of a cloud, ask for a greater quota.',
    retry: 'after',
  },
  FILESYSTEM_DAMAGED: {
    text: 'The {kind} file system on {device} is damaged[: {reason}].',
    fix: 'It is not mounted, and only what is safe was repaired. Repair it by hand, on a copy if the data matters, then start the container again.',
    retry: 'after',
  },
  FORMAT_REFUSED: {
    text: 'Disk {disk} of volume {volume} ({device}) is not formatted: {reason}.',
    fix: 'Nothing was changed. Look at what is on the disk before anything else is done with it.',
    retry: 'never',
  },
  IMPORT_REFUSED: {
    text: '{disk} cannot become volume {volume}: {reason}.',
    fix: 'Nothing was changed. Correct what it names, then repeat the command.',
    retry: 'never',
  },
  OBJECT_ENGINE: {
    text: 'The file system of volume {volume} does not work[: {reason}].',
    fix: "Repeat the command; if it fails again, look at the log of the Docker daemon, and at engine.log in the volume's folder below /var/lib/drayage/volume/object.",
    retry: 'backoff',
  },
  OBJECT_WAITING: {
    text: 'Volume {volume} is not written out yet: {files} files with {bytes} bytes wait for its bucket[: {reason}].',
    fix: 'They are being brought there; repeat the command, or look at the Status of docker volume inspect {volume}.',
    retry: 'backoff',
  },
  SHARE_MISSING: {
    text: 'The [folder {folder} of ]share {share} does not exist[: {reason}].',
    fix: 'Check [-o path={folder} and ]the path after the colon[: the server exports {exports}]. Nothing was mounted or made.',
    retry: 'after',
  },
  SHARE_READONLY: {
    text: 'The share {share} can be read only[: {reason}].',
    fix: 'Let its server export it for writing, or create the volume with -o path= of a folder that is there and -o readonly=true.',
    retry: 'after',
  },
  SHARE_REFUSED: {
    text: 'The server of share {share} refuses this host[: {reason}].',
    fix: "Let the server's export or access rule allow this host's address, and root of it (no_root_squash), then repeat the command.",
    retry: 'after',
  },
  SHARE_SILENT: {
    text: 'The server of share {share} does not answer[ since {since}][: {reason}].',
    fix: 'Look at the server and the way to it; the command can be repeated. Containers that use the share go on when it answers again.',
    retry: 'backoff',
  },
  SHARE_UNREACHABLE: {
    text: 'The server of share {share} cannot be reached[: {reason}].',
    fix: 'Check the address, that the server runs, and that firewalls and security groups let TCP port {port} through.',
    retry: 'backoff',
  },
  SHARE_UNRESOLVED: {
    text: 'The name of the server of share {share} does not resolve[: {reason}].',
    fix: "Check the name, and this host's name servers.",
    retry: 'backoff',
  },
  SHARE_VERSION: {
    text: 'The server of share {share} speaks NFS {offered}, not {wanted}[: {reason}].',
    fix: 'Leave -o nfsvers= out for the best version that both sides speak, or enable the version on the server.',
    retry: 'after',
  },
  SNAPSHOT_UNKNOWN: {
    text: 'There is no snapshot {snapshot}[ {reason}].',
    fix: 'List the snapshots with drayage volume snapshots.',
    retry: 'never',
  },
  TOKEN_BURNED: {
    text: 'The storage provider {provider} remembers a failed or different request for {what}[: {reason}].',
    fix: 'Repeat the command: it is asked for anew.',
    retry: 'backoff',
  },
  VOLUME_BUSY: {
    text: 'Volume {volume} is in use on host {holder}[ by {users}][, {reason}].',
    fix: 'Stop its containers on {holder} and repeat the command.',
    retry: 'after',
  },
  VOLUME_ELSEWHERE: {
    text: 'Volume {volume} is in use on host {holder}, where this has to be done.',
    fix: 'Repeat the command on {holder}, or stop the containers of {volume} there.',
    retry: 'after',
  },
  VOLUME_EXISTS: {
    text: 'Volume {volume} exists already with other options: {differences}.',
    fix: 'Leave the options out or give the same ones, choose another name, or remove the volume first.',
    retry: 'never',
  },
  VOLUME_IN_USE: {
    text: 'Volume {volume} is in use on this host[ by {users}].',
    fix: 'Remove its containers, then repeat the command.',
    retry: 'after',
  },
  VOLUME_LOST: {
    text: 'Volume {volume} does not belong to this host any more: {reason}.',
    fix: 'Stop its containers here: what they write is not kept. Then start them where the volume is to be used.',
    retry: 'after',
  },
  VOLUME_MOVING: {
    text: 'Volume {volume} is being moved to zone {zone} by host {holder}[, {reason}].',
    fix: 'Start its containers on {holder}, or repeat the command when the move is done or given up.',
    retry: 'after',
  },
  VOLUME_NAME: {
    text: '"{volume}" cannot be the name of a volume: {reason}.',
    fix: 'Use 2 to 128 letters, digits, dots, dashes and underscores, beginning with a letter or a digit.',
    retry: 'never',
  },
  VOLUME_NOT_MOUNTED: {
    text: 'Volume {volume} was not found where it should be mounted[: {reason}].',
    fix: 'Repeat the command; if it fails again, look at the log of the Docker daemon for this request id.',
    retry: 'backoff',
  },
  VOLUME_REMOVING: {
    text: 'Volume {volume} is being removed[ by host {holder}][; so far: {reason}].',
    fix: 'Repeat docker volume rm {volume} to see how far it is.',
    retry: 'backoff',
  },
  VOLUME_TYPE: {
    text: 'Volume {volume} cannot be created: {reason}.',
    fix: 'Choose one of the types that this host offers: {known}.',
    retry: 'never',
  },
  VOLUME_UNABLE: {
    text: '{what} is not possible: volume {volume} is of type {type}[, {reason}].',
    fix: '{instead}.',
    retry: 'never',
  },
  VOLUME_UNCONFIRMED: {
    text: 'Volume {volume} does not exist in the cluster; Docker got to know its name while the cluster could not be asked.',
    fix: 'Remove the name with docker volume rm {volume}, then create the volume with docker volume create.',
    retry: 'never',
  },
  VOLUME_UNKNOWN: {
    text: 'Volume {volume} is not known to this plugin.',
    fix: 'List the volumes with docker volume ls.',
    retry: 'never',
  },
} as const satisfies Record<string, ErrorEntry>;
