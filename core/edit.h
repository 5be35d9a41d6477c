/* Line editing on a terminal, by libedit (editline(3)): history, keys, completion, a line that Ctrl-C abandons. */
#ifndef MLB_EDIT_H
#define MLB_EDIT_H

#include <stdbool.h>
#include <stddef.h>

struct mlb_edit;

/* What Tab does with the text before the cursor: `insert` is typed for the user, `shown` is a list of texts, one a line,
 * to choose from. Both may be empty, and stay valid until the next call. */
struct mlb_edit_completion {
	const char *insert;
	const char *shown;
};

typedef void mlb_edit_complete_fn(void *data, const char *before, size_t length, struct mlb_edit_completion *ret);

/* Edit on standard input and output. `history` of a file that may be absent, of `size` lines; NULL: of this session alone.
 * 0, -ENOMEM, or -ENOTTY where the terminal cannot be set up. */
int mlb_edit_open(const char *history, int size, mlb_edit_complete_fn *complete, void *data, struct mlb_edit **ret_edit);

/* Let the user edit a line. `*ret_line` is without its end, and valid until the next call; NULL: Ctrl-D.
 * 0; -EINTR: Ctrl-C, the line is abandoned; -ETIMEDOUT: no key was pressed for `idle_ms` (< 0: wait for ever); -EIO. */
int mlb_edit_read(struct mlb_edit *edit, const char *prompt, int idle_ms, const char **ret_line);

/* Remember what was entered, unless it is what was entered before it, and write the history's file. */
void mlb_edit_remember(struct mlb_edit *edit, const char *text);

void mlb_edit_close(struct mlb_edit *edit);

/* From now on SIGINT sets a flag instead of ending the process; a second one before the flag is looked at ends it. */
int mlb_edit_catch_interrupts(void);

/* Whether there was a SIGINT since the last call. */
bool mlb_edit_interrupted(void);

/* How much may be mapped from now on, in bytes beyond what is mapped already (RLIMIT_AS). 0 or -errno. */
int mlb_edit_limit_memory(size_t bytes);

#endif
