"""Words and their letters."""

from functools import cache

import numpy as np

HELD_OUT = 0.15
_TEXT = """
able about above after again air all also always and animal answer any apple arm army art ask baby
back bad ball bank bath bear beautiful bed before begin bell below best bird black blood blue
board boat body bone book both bottom box boy branch bread break bridge bright bring brother brown
build business call captain care carry case castle cat cause chair chance chief child church
circle city class clean clear clock close cloth cloud coal coat cold colour come cook cool copy
corn corner country course cover cow cross crowd cry cup curtain cut dance dark daughter day dead
dear death deep desk dinner doctor dog door doubt down dream dress drink drive dry dust duty each
ear early earth east easy eat edge egg eight empty end engine enough evening ever every eye face
fact fall false family far farm fast father fear feather feed feel few field fight fill find fine
finger fire first fish five flag flat floor flower fly fold follow food foot force forest form
four free fresh friend front fruit full game garden gate gentle girl give glad glass go gold good
grass grave gray great green ground group grow guard guide hair half hall hand happy hard hat have
head hear heart heat heavy help high hill history hold hole home hope horse hot hour house how
hundred hurt idea inch iron island judge jump just keep key kind king kiss kitchen knee knife know
lady lake land language large last late laugh law lead leaf learn leave left leg letter level life
lift light like line lion lip list little live lock long look lost loud love low make man many
mark market master match matter meat meet metal middle milk mind mine minute money month moon more
morning mother mountain mouth move music nail name narrow near neck need night nine north nose
note nothing now number ocean offer office often oil old once one only open orange order other out
over page pain paint pair paper part party pass past path pay peace pen people picture piece place
plain plant play please pocket point poor power present price pride print prison proud pull push
queen question quick quiet rain raise reach read ready reason red rest rich ride right ring river
road rock roof room root rope rose rough round rule run sad safe sail salt same sand save school
sea season seat second secret seed seem sell send sense servant seven shade shape sharp sheep ship
shirt shoe shop short shoulder show side sign silk silver simple sing sister sit six skin sky
sleep slow small smile smoke smooth snake snow soft soldier some son song soon sort soul sound
south space speak spirit spring square stage stair stamp stand star station stay steel step stick
stone stop store storm story street strong sudden sugar summer sun sweet table tail take talk tall
taste teach ten thick thin thing think thousand thread three throat through thunder time tired
together tongue tooth top touch town trade train tree trouble true trust turn twelve two uncle
under use valley very view village visit voice wait walk wall want war warm wash watch water wave
way weather week weight west wet wheel white wide wife wild wind window wine wing winter wire wise
woman wonder wood word work world wound write wrong year yellow yes yet young
"""
WORDS = tuple(_TEXT.split())


@cache
def held_out() -> frozenset[str]:
    """Words whose spelling no text holds."""
    out = np.random.default_rng(65).random(len(WORDS)) < HELD_OUT
    return frozenset(word for word, kept in zip(WORDS, out, strict=True) if kept)
