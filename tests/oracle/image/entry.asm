; The payload's first code, the exception stubs, and the accesses themselves. Assembled twice: with
; WIDE for 64-bit code, without for 32-bit code.
;
; An access runs in a stub of its own, at CPL 0 where the stub lies or at CPL 3 through a user
; mapping of its page. Each stub ends in `int 0x80`; every exception and that interrupt end in
; `finish`, which notes what happened and returns from perform().

%ifdef WIDE
%define AX rax
%define BX rbx
%define CX rcx
%define DX rdx
%define SP_ rsp
%define DI_ rdi
%define BP_ rbp
%define WORD_ qword
%define SLOT 8
%else
%define AX eax
%define BX ebx
%define CX ecx
%define DX edx
%define SP_ esp
%define DI_ edi
%define BP_ ebp
%define WORD_ dword
%define SLOT 4
%endif

extern oracle_main, bss_begin, bss_end
global perform, load_tables, exception_stubs, stub_interrupt, stub_page
global result_vector, result_error, result_cr2, result_value

section .start
bits 32
	mov edi, bss_begin
	mov ecx, bss_end
	sub ecx, edi
	xor eax, eax
	rep stosb
%ifdef WIDE
; Identity map of 128 MiB by 2 MiB pages; the root is at 0x100000 (PML4) or 0x104000 (PML5).
	mov edi, 0x100000
	mov ecx, 0x8000 / 4
	rep stosd
	mov dword [0x104000], 0x100023
	mov dword [0x100000], 0x101023
	mov dword [0x101000], 0x102023
	mov eax, 0xe3			; present, writable, accessed, dirty, large
	mov edi, 0x102000
	mov ecx, 64
.page:	mov [edi], eax
	add eax, 0x200000
	add edi, 8
	loop .page
	mov eax, 0xa0			; PAE, PGE
	mov edx, 0x100000
	cmp dword [0x10004], 1		; mode: 5-level
	jne .enable
	or eax, 0x1000
	mov edx, 0x104000
.enable:
	mov cr4, eax
	mov cr3, edx
	mov ecx, 0xc0000080
	rdmsr
	or eax, 0x100			; LME
	wrmsr
	mov eax, cr0
	or eax, 0x80010000		; PG, WP
	mov cr0, eax
	lgdt [early_gdtr]
	jmp 8:wide
early_gdt:
	dq 0
	dq 0x00af9a000000ffff
early_gdtr:
	dw 15
	dd early_gdt
bits 64
wide:
	xor eax, eax
	mov ss, ax
	mov ds, ax
	mov es, ax
%endif
	mov esp, 0x90000
	call oracle_main
.halt:	hlt
	jmp .halt

section .text
%ifdef WIDE
bits 64
%define ARGUMENT(n) %[ARG %+ n]
%else
bits 32
%endif

; void load_tables(const void *gdtr, const void *idtr): and TR = 0x30
load_tables:
%ifdef WIDE
	lgdt [rdi]
	lidt [rsi]
%else
	mov eax, [esp + 4]
	lgdt [eax]
	mov eax, [esp + 8]
	lidt [eax]
	mov ax, 0x23			; user data works at both levels
	mov ds, ax
	mov es, ax
	xor eax, eax
	mov fs, ax
	mov gs, ax
	mov ax, 0x10
	mov ss, ax
	jmp 8:.code
.code:
%endif
	mov ax, 0x30
	ltr ax
	ret

; void perform(const struct job *job): the fields as in oracle.c, a machine word each:
; stub, va, value, compared, user, flags
perform:
%ifdef WIDE
	push rbx
	push rbp
	push r12
	push r13
	push r14
	push r15
%else
	mov eax, [esp + 4]
	push ebx
	push ebp
	push esi
	push edi
	mov edi, eax
%endif
	mov [saved_stack], SP_
	mov BX, [DI_]
	mov CX, [DI_ + SLOT]
	mov DX, [DI_ + 2 * SLOT]
	mov AX, [DI_ + 3 * SLOT]
	cmp WORD_ [DI_ + 4 * SLOT], 0
	jne .user
	push WORD_ [DI_ + 5 * SLOT]
%ifdef WIDE
	popfq
%else
	popfd
%endif
	jmp BX
.user:
	push WORD_ 0x23
	push WORD_ 0
	push WORD_ [DI_ + 5 * SLOT]
	push WORD_ 0x1b
	push BX
%ifdef WIDE
	iretq
%else
	iretd
%endif

finish:
	mov [result_value], AX
	pop WORD_ [result_vector]
	pop WORD_ [result_error]
	mov AX, cr2
	mov [result_cr2], AX
	mov SP_, [saved_stack]
	push WORD_ 2
%ifdef WIDE
	popfq
	pop r15
	pop r14
	pop r13
	pop r12
	pop rbp
	pop rbx
%else
	popfd
	cld
	mov ax, 0x23			; ES may be anything
	mov es, ax
	pop edi
	pop esi
	pop ebp
	pop ebx
%endif
	ret

; Every stub has 16 bytes; those of vectors without error code push 0.
align 16
exception_stubs:
%assign vector 0
%rep 32
	align 16
%if vector != 8 && (vector < 10 || vector > 14) && vector != 17 && vector != 21 && vector != 29 && vector != 30
	push WORD_ 0
%endif
	push WORD_ vector
	jmp finish
%assign vector vector + 1
%endrep
align 16
stub_interrupt:
	push WORD_ 0
	push WORD_ 32
	jmp finish

; The accesses: 16 bytes each, in a page of their own. CX: address; DX: value; AX: value compared
; with, and what was read.
section .stubs
%macro stub 1+
	align 16
	%1
	int 0x80
%endmacro
stub_page:
	stub movzx eax, byte [CX]	; 0: reads
	stub movzx eax, word [CX]
	stub mov eax, [CX]
%ifdef WIDE
	stub mov rax, [rcx]
%else
	stub nop
%endif
	stub mov [CX], dl		; 4: writes
	stub mov [CX], dx
	stub mov [CX], edx
%ifdef WIDE
	stub mov [rcx], rdx
%else
	stub nop
%endif
	stub lock or [CX], dl		; 8: locked
	stub lock or [CX], dx
	stub lock or [CX], edx
%ifdef WIDE
	stub lock or [rcx], rdx
%else
	stub nop
%endif
	stub lock cmpxchg [CX], dl	; 12: locked, usually failing
	stub lock cmpxchg [CX], dx
	stub lock cmpxchg [CX], edx
%ifdef WIDE
	stub lock cmpxchg [rcx], rdx
%else
	stub nop
%endif
	stub jmp CX			; 16: fetch
	stub lar eax, dx		; 17: implicit
%ifndef WIDE
; 18: a selector in AX, then reads and writes through ES, then through SS. SS only at CPL 3: a fault
; at CPL 0 would push its frame there.
%macro segment_stub 2
	align 16
	mov %1, ax
	%2
	int 0x80
%endmacro
%macro segment_stubs 1
	segment_stub %1, {movzx eax, byte [%1:ecx]}
	segment_stub %1, {movzx eax, word [%1:ecx]}
	segment_stub %1, {mov eax, [%1:ecx]}
	segment_stub %1, {mov [%1:ecx], dl}
	segment_stub %1, {mov [%1:ecx], dx}
	segment_stub %1, {mov [%1:ecx], edx}
%endmacro
	segment_stubs es
	segment_stubs ss
%endif

section .bss
alignb 8
saved_stack	resb 8
result_vector	resb 8
result_error	resb 8
result_cr2	resb 8
result_value	resb 8
