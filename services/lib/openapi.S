/*
 * The OpenAPI document of a daemon, as a string in the program.  The names are
 * what service.h's users declare; OPENAPI_FILE comes from the Makefile.
 */
	.section .rodata
	.global openapi_document
openapi_document:
	.incbin OPENAPI_FILE
	.byte 0
	.section .note.GNU-stack, "", %progbits
