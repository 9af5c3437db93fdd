// What the reader's token allows, as the server sends it with the figures. The server refuses the rest in any case.

/** Whether something can be changed. */
export const rights = $state({ steer: true });

/** Why a control is disabled. */
export const LOOK_ONLY = "Your token has only the right to look";
