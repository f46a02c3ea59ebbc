/* Included by the build in front of every file (-include): calls that have no safe use here. */
#ifndef BK_BASE_BANNED_H
#define BK_BASE_BANNED_H
#include <stdio.h>
#include <string.h>
#pragma GCC poison strcpy strcat strncat strtok gets vsprintf sprintf
#endif
