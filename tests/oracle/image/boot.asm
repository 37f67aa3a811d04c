; Boot sector: loads the payload (64 KiB from sector 1) to 0x10000 and enters it at 0x10200 in flat
; 32-bit protected mode.
bits 16
org 0x7c00

start:
	cli
	xor ax, ax
	mov ds, ax
	mov es, ax
	mov ss, ax
	mov sp, 0x7c00
	mov [drive], dl
	mov ax, 0x2401			; A20 on, by the BIOS and by port 92h
	int 0x15
	in al, 0x92
	or al, 2
	and al, 0xfe
	out 0x92, al
	call load
	add word [packet.segment], 0x800
	add dword [packet.sector], 64
	call load
	lgdt [gdtr]
	mov eax, cr0
	or al, 1
	mov cr0, eax
	jmp 8:protected

load:
	mov si, packet
	mov ah, 0x42
	mov dl, [drive]
	int 0x13
	jc stop
	ret

stop:
	hlt
	jmp stop

bits 32
protected:
	mov ax, 16
	mov ds, ax
	mov es, ax
	mov fs, ax
	mov gs, ax
	mov ss, ax
	mov esp, 0x90000
	mov eax, 0x10200
	jmp eax

drive	db 0
align 4
packet:
	db 16, 0
	dw 64				; sectors
	dw 0				; offset
.segment:
	dw 0x1000
.sector:
	dq 1

align 8
gdt:
	dq 0
	dq 0x00cf9a000000ffff		; 8: code
	dq 0x00cf92000000ffff		; 16: data
gdtr:
	dw gdtr - gdt - 1
	dd gdt

	times 510 - ($ - $$) db 0
	dw 0xaa55
