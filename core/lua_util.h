/* What every binding shares: the error triple, the one way into Lua, option tables. */
#ifndef MLB_LUA_UTIL_H
#define MLB_LUA_UTIL_H

#include <stdbool.h>

#include <lua.h>
#include <lauxlib.h>
#include <uv.h>

/* Push `nil, "<what>: <strerror>", "<ERRNO NAME>"`; `err` is an errno, of either sign. Returns 3.
 * The only place that builds the triple for errors of the operating system. */
__attribute__((format(printf, 3, 4))) int mlb_push_error(lua_State *L, int err, const char *what, ...);

/* Push `nil, message, code` where `code` is not an errno name (a Kubernetes reason, a curl error). Returns 3. */
int mlb_push_failure(lua_State *L, const char *message, const char *code);

/* Push `{message = , code = }`: the `err` of a Lua callback `(err, value)`. Leaves one value. */
void mlb_push_error_table(lua_State *L, const char *message, const char *code);

/* The errno's symbolic name, "EINVAL"; "EUNKNOWN" for a number without one. Either sign. */
const char *mlb_errno_name(int err);

/* Call the function below `nargs` values with a traceback; log, count and drop any error. L is the main state.
 * The only way from a loop callback into Lua. */
bool mlb_call(lua_State *L, int nargs, const char *who);

/* How many errors mlb_call (and the handler of luv's callbacks) has caught since start. */
unsigned long mlb_callback_errors(void);

/* How many callbacks held the loop for over 20 ms since start, and the longest of all, in seconds. */
unsigned long mlb_long_callbacks(double *ret_longest_s);

/* The state that callbacks run in, never a coroutine; and the one event loop. */
lua_State *mlb_main_state(lua_State *L);
uv_loop_t *mlb_loop(lua_State *L);

/* Create metatable `name`: `methods` in its __index, `metamethods` in itself, __name and __metatable set.
 * Leaves nothing on the stack. */
void mlb_new_class(lua_State *L, const char *name, const luaL_Reg *methods, const luaL_Reg *metamethods);

/* Options of a table argument. Misuse raises and names the field. The optional ones return the default when
 * the field is nil. Strings stay valid while the table does. */
const char *mlb_opt_string(lua_State *L, int table, const char *field, const char *fallback);
const char *mlb_check_string(lua_State *L, int table, const char *field);
lua_Integer mlb_opt_integer(lua_State *L, int table, const char *field, lua_Integer fallback,
			    lua_Integer least, lua_Integer most);
bool mlb_opt_boolean(lua_State *L, int table, const char *field, bool fallback);

/* Pin the function (or any value) at `arg` in the registry; unpin is idempotent and sets LUA_NOREF. */
int mlb_pin(lua_State *L, int arg);
void mlb_unpin(lua_State *L, int *ref);

#endif
