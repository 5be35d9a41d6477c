/* What holds the namespaces of a Pod while its containers come and go: it sleeps until it is killed. */
#include <unistd.h>

int main(void)
{
	for (;;)
		pause();
}
