/* moonlb: start the runtime and hand the arguments to lua/moonlb/cli. */
#include <uv.h>

#include "runtime.h"

int main(int argc, char **argv)
{
	uv_loop_t *loop = uv_default_loop();
	struct lua_State *L;
	int code;

	argv = uv_setup_args(argc, argv);
	L = mlb_runtime_open(loop);
	code = mlb_runtime_main(L, "moonlb.cli", argc, argv);
	mlb_runtime_close(L, loop);
	return code;
}
